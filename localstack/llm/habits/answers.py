"""Answers with status 200 in one piece, whatever was asked for."""
# ruff: noqa: E501 - a habit a line: their shapes are compared by eye

from localstack.llm.habits.shape import Habit

_MESSAGE = {"role": "assistant", "content": "Hello there."}
_USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


def _whole(**more: object) -> dict[str, object]:
    return {"id": "x", "model": "m", "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}], **more}


HABITS = {
    "whole_json": Habit("open-webui/open-webui", body=_whole(usage=_USAGE)),
    "whole_json_pretty": Habit("mudler/LocalAI#1194", body='\n{\n "choices": [\n  {"message": {"content": "Hello there."},\n   "finish_reason": "stop"}\n ]\n}\n'),
    "whole_without_finish": Habit("jakobdylanc/llmcord#84", body={"choices": [{"message": _MESSAGE}]}),
    "whole_old_completion": Habit("oobabooga/text-generation-webui", body={"choices": [{"text": "Hello there.", "finish_reason": "stop"}]}),
    "whole_error_object": Habit("vllm-project/vllm", body={"object": "error", "message": "bad tool", "type": "BadRequestError", "code": 400}),
    "whole_detail": Habit("abetlen/llama-cpp-python", body={"detail": "bad tool"}),
    "whole_html": Habit("openai/openai-python", body="<!doctype html><html><head><title>Sign in</title><script>var a = 1;</script></head><body>Please sign in</body></html>"),
    "whole_minimax": Habit("minimaxi.com/document/error-codes", body={"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
    "whole_error_status": Habit("BerriAI/litellm", body={"error": {"code": 503, "message": "no capacity"}}),
    "whole_ndjson": Habit("ollama/ollama", body='{"choices": [{"delta": {"content": "Hello "}}]}\n{"choices": [{"delta": {"content": "there."}, "finish_reason": "stop"}]}\n'),
}  # fmt: skip
