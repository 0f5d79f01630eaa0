"""A real HTTP server on this machine that speaks like an OpenAI-compatible chat endpoint, and answers as scripted."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "scripted"
NUMBER = re.compile(r"^\[(\d+)\] ", re.MULTILINE)
NOTED = re.compile(r'"turns": \[(\d+)')


@dataclass(frozen=True)
class Asked:
    """A request that the server got. The names of its headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def form(self) -> str | None:
        """The type of the asked `response_format`."""
        form = self.body.get("response_format")
        return None if form is None else str(form["type"])

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][-1]["content"])

    @property
    def is_joining(self) -> bool:
        """Whether it joins the notes of several parts."""
        return "The notes begin after this line" in self.body["messages"][1]["content"]

    @property
    def turns(self) -> list[int]:
        """The numbers of the turns that the first question shows."""
        shown = self.body["messages"][1]["content"]
        lines = shown.partition("The transcript begins after")[2]
        return [int(number) for number in (NOTED if self.is_joining else NUMBER).findall(lines or shown)]


@dataclass(frozen=True)
class Says:
    """An answer. `text` is what the model wrote; `raw` is a whole body instead.

    It comes after `seconds`. If it `drips`, its bytes come one by one, ten a second.
    """

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    raw: bytes | None = None
    tokens: Any = 100
    seconds: float = 0.0
    drips: bool = False

    def body(self) -> bytes:
        if self.raw is not None:
            return self.raw
        message = {"role": "assistant", "content": self.text}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        usage = {} if self.tokens is None else {"usage": {"total_tokens": self.tokens}}
        return json.dumps({"object": "chat.completion", "choices": [choice], **usage}).encode()


Script = Callable[[Asked], Says | None]


def judgement(turns: list[int], **changes: Any) -> dict[str, Any]:
    """A judgement that fits, each statement with the first of these turns."""
    first = turns[:1]
    return {
        "summary": {"text": "An order is late.", "turns": first},
        "reason": {"text": "The order has not come.", "turns": first},
        "outcome": {"text": "It is sent again.", "turns": first},
        "resolved": {"value": True, "turns": first},
        "intent": {"value": "complaint", "turns": first},
        "answers": [],
        "sentiment": [{"turn": number, "value": "neutral"} for number in turns],
        "action_items": [{"text": "Send the order.", "turns": first}],
        "keywords": [],
    } | changes


def judged(asked: Asked, **changes: Any) -> Says:
    return Says(json.dumps(judgement(asked.turns, **changes)))


@dataclass
class ChatServer:
    """`script` answers a request, and a None of it means an ordinary judgement. `asked` are the requests so far."""

    port: int = 0
    script: Script | None = None
    asked: list[Asked] = field(default_factory=list)
    let_go: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def forms(self) -> list[str | None]:
        return [each.form for each in self.asked]

    def says(self, *answers: Says) -> None:
        """Give these answers, one after the other. The last one repeats."""
        waiting = list(answers)
        self.script = lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def answer(self, asked: Asked) -> Says:
        self.asked.append(asked)
        scripted = None if self.script is None else self.script(asked)
        return judged(asked) if scripted is None else scripted


@contextmanager
def chat_serving() -> Iterator[ChatServer]:
    """Runs a server on a free port until the end of the block."""
    server = ChatServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            says = server.answer(Asked(self.path, headers, json.loads(body)))
            if says.seconds:
                server.let_go.wait(says.seconds)
            answer = says.body()
            with suppress(OSError):  # the client may have hung up
                self.send_response(says.status)
                for name, value in {"Content-Type": "application/json", **says.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                for at in range(len(answer) if says.drips else 0):
                    self.wfile.write(answer[at : at + 1])
                    if server.let_go.wait(0.1):
                        return
                self.wfile.write(b"" if says.drips else answer)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.let_go.set()
            http.shutdown()
            thread.join()
