"""OpenAI's Responses dialect: requests in, tasks inside, response objects out.

Shapes and codes are those of https://platform.openai.com/docs/api-reference/responses as the `openai` package reads
them. What Sluice cannot do is refused by name, never left out silently.
"""
