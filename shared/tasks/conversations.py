"""Which sessions are conversations of OpenAI's dialect: those have an item that says so, and can be deleted as such."""

from shared.tasks import table
from shared.tasks.items import Attributes, table_key
from shared.tasks.model import Task


def key(user: str, conversation_id: str) -> Attributes:
    """Return the key of the item that says that a session is a conversation."""
    return table_key(f"CONV#{user}", conversation_id)


def remembers(task: Task) -> bool:
    """Whether a run's session is to remember it: there is one, and it is no conversation that was deleted meanwhile."""
    conversation_id = task.params.get("conversation")
    return bool(task.session_id) and (conversation_id is None or table.get(key(task.user, conversation_id)) is not None)
