"""Frames of mtd-task/1: one JSON object per line, then exactly `body` raw bytes if the object has "body".

A line with its body is at most 64 KiB. A larger body comes first, in numbered frames of type "part"; the message
then says "parts" instead of "body", and the reader puts them together again. Nothing here knows sockets.
"""
import json

from .errors import ProtocolError

MAX_FRAME = 65536          # of a line with its body
PART_BYTES = 60 * 1024     # of a body in a part; leaves room for the line
MAX_BODY = 1 << 30         # an own limit far above mtd's, so that nonsense is not believed


def to_line(message):
    """One line. Keys keep the order they have in `message`."""
    line = json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"
    if len(line) > MAX_FRAME:
        raise ProtocolError(f"{len(line)} bytes of JSON are more than a message may have ({MAX_FRAME}); "
                            "large data travels as bytes")
    return line


def encode(message, body=None):
    """The message as bytes: one frame, or several if the body is large."""
    if body is None:
        return to_line(message)
    view = memoryview(body).cast("B")
    line = to_line({**message, "body": len(view)})
    if len(line) + len(view) <= MAX_FRAME:
        return line + view.tobytes()
    count = -(-len(view) // PART_BYTES)
    frames = []
    for number in range(count):
        piece = view[number * PART_BYTES:(number + 1) * PART_BYTES]
        frames.append(to_line({"t": "part", "id": message["id"], "attempt": message["attempt"], "part": number,
                               "of": count, "body": len(piece)}))
        frames.append(piece)
    frames.append(to_line({**message, "parts": count}))
    return b"".join(frames)


class Reader:
    """Bytes in, whole messages out: pairs of the object and its body (bytes, or None)."""

    def __init__(self):
        self._buffer = bytearray()
        self._message = None    # the object whose body is still coming
        self._parts = {}        # (id, attempt) → {number: piece}
        self._scanned = 0

    def feed(self, data):
        """All messages that are complete now, in order."""
        self._buffer += data
        messages = []
        while True:
            frame = self._next()
            if frame is None:
                return messages
            whole = self._assemble(*frame)
            if whole is not None:
                messages.append(whole)

    def _next(self):
        if self._message is None:
            end = self._buffer.find(b"\n", self._scanned)
            if end < 0:
                self._scanned = len(self._buffer)
                if len(self._buffer) > MAX_FRAME:
                    raise ProtocolError(f"a line longer than {MAX_FRAME} bytes")
                return None
            self._message = self._parse(bytes(self._buffer[:end]))
            del self._buffer[:end + 1]
            self._scanned = 0
        size = self._message.get("body")
        if size is None:
            message, self._message = self._message, None
            return message, None
        if len(self._buffer) < size:
            return None
        message, self._message = self._message, None
        body = bytes(self._buffer[:size])
        del self._buffer[:size]
        return message, body

    @staticmethod
    def _parse(line):
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"not JSON: {error}") from None
        if not isinstance(message, dict):
            raise ProtocolError("not a JSON object")
        size = message.get("body")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_BODY):
            raise ProtocolError(f"a body of {size!r} bytes")
        return message

    def _assemble(self, message, body):
        key = (message.get("id"), message.get("attempt"))
        if message.get("t") == "part":
            if body is None or not isinstance(message.get("part"), int):
                raise ProtocolError("a part without its number or body")
            self._parts.setdefault(key, {})[message["part"]] = body
            return None
        if "parts" not in message:
            return message, body
        pieces = self._parts.pop(key, {})
        if sorted(pieces) != list(range(message["parts"])):
            raise ProtocolError(f"{message['parts']} parts were announced, {sorted(pieces)} came")
        return message, b"".join(pieces[number] for number in sorted(pieces))
