"""What answers of OpenAI's files, uploads and batches hold."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from functions.api.description.openai_documents import Deleted, OpenAIPage


class FileView(BaseModel):
    """A file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["uploaded", "processed", "error"]
    status_details: str | None
    upload_url: Annotated[str | None, Field(description="Where an announced file's content is to be PUT.")] = None
    upload_method: Literal["PUT"] | None = None
    upload_expires_at: int | None = None


class FileList(OpenAIPage):
    """A page of files."""

    data: list[FileView]


class FileDeleted(Deleted):
    """A file was deleted."""

    object: Literal["file"]


class UploadView(BaseModel):
    """A file that comes in parts."""

    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: FileView | None


class UploadPart(BaseModel):
    """A part that was taken."""

    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


class BatchFault(BaseModel):
    """What is wrong with a batch's file."""

    code: str
    message: str
    param: str | None
    line: Annotated[int | None, Field(description="Number of the line, from 1.")]


class BatchFaults(BaseModel):
    """What is wrong with a batch's file; the first hundred."""

    object: Literal["list"]
    data: list[BatchFault]


class BatchCounts(BaseModel):
    """A batch's requests."""

    total: int
    completed: int
    failed: int


class BatchView(BaseModel):
    """A batch."""

    id: str
    object: Literal["batch"]
    endpoint: str
    errors: BatchFaults | None
    input_file_id: str
    completion_window: Literal["24h"]
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: BatchCounts
    usage: dict[str, Any] | None
    metadata: dict[str, str] | None


class BatchPage(OpenAIPage):
    """A page of batches."""

    data: list[BatchView]
