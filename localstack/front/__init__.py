"""Plays Lambda behind a Function URL that streams: real environments of the streaming function, chunks as they come.

    python -m localstack.front CONFIG.json          (`make up` starts it)

The local AWS hands an answer over in one piece, and so does the emulator in SAM's package. This front serves the
runtime API to a small pool of processes, each started as Lambda starts one, and passes on what they write. As Lambda
does, it goes on with an answer whose client has left, and says 429 when every environment is busy.
"""
