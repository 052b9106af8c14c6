"""Flower's Grid inside this process: a message is answered by the ClientApp itself, on a thread.

Decides who answers which message and when: a lane takes the oldest message that waits, so that no lane
idles while another has a queue. No line, no copy, no serialisation; how many bytes of replies wait is
bounded by the server's own slots. What a message means is left to the two apps.
"""

import contextlib
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid

RUN_ID = 1
_FAILED = 2  # Flower's error code for a ClientApp that raised
_TURN_S = 0.01

App = Callable[[Message, Context], Message]
NodeConfig = Mapping[str, bool | float | str]


class InProcessGrid(Grid):  # type: ignore[misc]  # flwr is not typed
    """A Grid whose nodes are calls of a ClientApp.

    Args:
        app: the ClientApp.
        nodes: what Flower's node configuration says at each node; they are numbered from 1.
        lanes: how many messages are answered at a time.
        begin: called first on every lane's thread.
    """

    def __init__(
        self, app: App, nodes: Iterable[NodeConfig], *, lanes: int, begin: Callable[[], None] = lambda: None
    ) -> None:
        self._app = app
        self._contexts = {
            number: Context(RUN_ID, number, dict(config), RecordDict(), {}) for number, config in enumerate(nodes, 1)
        }
        self._begin = begin
        self._run: Any = None
        self._waiting: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._replies: dict[str, Message] = {}
        self._threads = [threading.Thread(target=self._serve, name=f"lane-{n}", daemon=True) for n in range(lanes)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(queue.Empty):  # whoever leaves early waits for the work in hand alone
            while True:
                self._waiting.get_nowait()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def get_node_ids(self) -> Iterable[int]:
        """Every node, from the first moment to the last."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Queue messages; see Flower's Grid."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies to these messages that are there, each once; see Flower's Grid."""
        return [reply for name in message_ids if (reply := self._replies.pop(name, None)) is not None]

    def _push(self, message: Message) -> str:
        name = str(uuid4())
        message.metadata.__dict__["_message_id"] = name  # as Flower's own Grids do; there is no setter
        self._waiting.put(message)
        return name

    def _serve(self) -> None:
        self._begin()
        while (message := self._waiting.get()) is not None:
            self._replies[message.metadata.message_id] = self._answer(message)

    def _answer(self, message: Message) -> Message:
        try:
            return self._app(message, self._contexts[message.metadata.dst_node_id])
        except Exception:  # the app answers its own failures; this one is a failure of ours
            traceback.print_exc()
            return Message(Error(code=_FAILED), reply_to=message)

    # ------------------------------------------------------------ what else Flower's interface asks for

    def set_run(self, run: Any) -> None:
        """Remember Flower's record of the run."""
        self._run = run

    @property
    def run(self) -> Any:
        """What `set_run` was given; None before."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """See Flower's Grid."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push, and wait for the replies, at most `timeout` seconds; see Flower's Grid."""
        awaited = list(self.push_messages(messages))
        ends = time.monotonic() + (float("inf") if timeout is None else timeout)
        replies: list[Message] = []
        while len(replies) < len(awaited) and time.monotonic() < ends:
            replies += self.pull_messages(awaited)
            time.sleep(_TURN_S)
        return replies
