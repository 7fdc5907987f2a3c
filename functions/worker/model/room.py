"""Room for an answer in a model's context, read from a refusal that counts prompt and answer together.

Most servers reserve a call's whole limit beside its prompt: "maximum context length is 4096 tokens, you requested
4196 (100 in the messages, 4096 in the completion)". The prompt fits; the limit alone does not. Such a call is made
again with what the refusal says is left. Wordings seen: OpenAI, vLLM, SGLang, text-generation-inference, Together,
OpenRouter, Anthropic, llama-cpp-python.
"""

import re

LEAST_TOKENS = 64
"""Room below this is none: the prompt is too long then."""
_NUMBER = re.compile(r"(?<![\w.])\d{1,9}(?![\w]|\.\d)")
_MOST_NUMBERS = 24
_AFFORDED = re.compile(r"can only afford (\d{1,9})\b", re.I)


def left(message: str, asked: int) -> int | None:
    """Return how many output tokens a refused call may ask for instead of ``asked``.

    None: the message does not tell, or the prompt leaves no room. Sizes are found by their arithmetic, whatever words
    stand around them: a context *c* and a prompt *p* < *c* that, with what was asked, make more than *c*.
    """
    numbers = [int(found) for found in _NUMBER.findall(message.replace(",", ""))][:_MOST_NUMBERS]
    if asked not in numbers:
        return None
    numbers.remove(asked)
    pairs = [(c, p) for c in numbers for p in numbers if 0 < p < c < p + asked]
    # Where the sum is given as well, it is neither of the two.
    told = [(c, p) for c, p in pairs if p + asked in numbers and c != p + asked] or pairs
    if not told:
        return None
    context, prompt = min(told, key=lambda pair: pair[0] - pair[1])
    room = context - prompt
    return room if LEAST_TOKENS <= room < asked else None


def afforded(message: str, asked: int) -> int | None:
    """Return how many output tokens an account still pays for, as its provider says (OpenRouter); None: too few."""
    found = _AFFORDED.search(message.replace(",", ""))
    most = int(found[1]) if found is not None else 0
    return most if LEAST_TOKENS <= most < asked else None


CODES = {"context_too_long": left, "provider_insufficient_quota": afforded}
"""What tells how much a call may ask for, by the code of its refusal."""
