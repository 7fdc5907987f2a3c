"""Parts of a message: text, images, files and sound, between the Responses dialect and chat completions.

Sluice fetches nothing itself: an image's address goes to the provider as it is, and what stands in the request stays
in it. Text alone is written as a plain string, which every provider takes.
"""

from typing import Any

from functions.api.contract.problem import Problem, invalid
from functions.api.dialect.inlined import checked_address, checked_data

DETAILS = frozenset({"low", "high", "auto", "original"})
TEXTS = frozenset({"input_text", "output_text", "text", "summary_text"})
REFUSALS = "refusal"

Part = dict[str, Any]


def text_of(holder: Part, field: str, place: str) -> str:
    """Return a field that must be text.

    Raises:
        Problem: it is none.
    """
    value = holder.get(field)
    if not isinstance(value, str):
        raise invalid("must be text", f"{place}.{field}")
    return value


def unsupported(what: str, param: str) -> Problem:
    """Return the problem of something that OpenAI has and Sluice has not."""
    return Problem(400, "unsupported_value", f"{what} are not supported", param)


def kind_of(part: Any, place: str) -> str:
    """Return a part's type.

    Raises:
        Problem: it is no object with one.
    """
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise invalid("must be an object with a type", place)
    return kind


def chat_content(content: Any, place: str) -> str | list[Part]:
    """Turn a Responses item's content into a chat message's.

    Raises:
        Problem: a part is none that a chat request can carry; it is named.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise invalid("must be text or a list of parts", place)
    parts = [_chat_part(part, f"{place}.{n}") for n, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _chat_part(part: Any, place: str) -> Part:
    kind = kind_of(part, place)
    if kind in TEXTS:
        return {"type": "text", "text": text_of(part, "text", place)}
    if kind == REFUSALS:
        return {"type": "text", "text": text_of(part, "refusal", place)}
    if kind == "input_image":
        return _image(part, place)
    if kind == "input_file":
        return _file(part, place)
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": _sound(part.get("input_audio"), f"{place}.input_audio")}
    raise unsupported(f"parts of type {kind[:40]!r}", f"{place}.type")


def _image(part: Part, place: str) -> Part:
    if part.get("file_id") is not None:
        raise unsupported("uploaded files (`file_id`)", f"{place}.file_id")
    image = {"url": checked_address(text_of(part, "image_url", place), f"{place}.image_url")}
    detail = part.get("detail")
    if detail is not None:
        if detail not in DETAILS:
            raise invalid(f"must be one of {', '.join(sorted(DETAILS))}", f"{place}.detail")
        image["detail"] = detail
    return {"type": "image_url", "image_url": image}


def _file(part: Part, place: str) -> Part:
    for name, what in (("file_id", "uploaded files (`file_id`)"), ("file_url", "files by address (`file_url`)")):
        if part.get(name) is not None:
            raise unsupported(what, f"{place}.{name}")
    file = {"file_data": checked_data(text_of(part, "file_data", place), f"{place}.file_data")}
    if part.get("filename") is not None:
        file["filename"] = text_of(part, "filename", place)
    return {"type": "file", "file": file}


def _sound(sound: Any, place: str) -> Part:
    if not isinstance(sound, dict):
        raise invalid("must be an object", place)
    data = checked_data(text_of(sound, "data", place), f"{place}.data")
    return {"data": data, "format": text_of(sound, "format", place)}


def response_content(content: Any, *, said: bool) -> list[Part]:
    """Turn a chat message's content into a Responses item's; ``said`` by the model, not to it."""
    if isinstance(content, str):
        return [_text(content, said=said)]
    return [_response_part(part, said=said) for part in content or ()]


def _text(text: str, *, said: bool) -> Part:
    return (
        {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        if said
        else {"type": "input_text", "text": text}
    )


def _response_part(part: Part, *, said: bool) -> Part:
    kind = part.get("type")
    if kind == "image_url":
        image = part["image_url"]
        return {"type": "input_image", "image_url": image["url"], "detail": image.get("detail", "auto")}
    if kind == "file":
        return {"type": "input_file", **part["file"]}
    if kind == "input_audio":
        return dict(part)
    return _text(str(part.get("text", "")), said=said)


def inline(messages: list[dict[str, Any]]) -> list[int]:
    """Return the sizes of the images, files and sounds that stand in messages: they are no text that a model reads."""
    sizes = []
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            size = len(_data(part))
            if size:
                sizes.append(size)
    return sizes


def _data(part: Part) -> str:
    kind = part.get("type")
    if kind == "image_url":
        url: str = part["image_url"]["url"]
        return url if url.startswith("data:") else ""
    if kind == "file":
        return str(part["file"].get("file_data", ""))
    if kind == "input_audio":
        return str(part["input_audio"]["data"])
    return ""
