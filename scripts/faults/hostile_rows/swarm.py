"""Many clients at once, from one thread."""

import selectors
import socket
import struct
import threading
import time

PATIENCE = 60


def connect(address, patience=PATIENCE, source=None):
    """A connection over TCP (from the address `source`, if there is one) or, where the address is a path, a Unix socket."""
    if isinstance(address, str):
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(patience)
        stream.connect(address)
        return stream
    return socket.create_connection(address, patience, source and (source, 0))


def say(address, payload, end=True, patience=PATIENCE):
    """Sends all that the proxy takes, ends, and gives what came back until the proxy closed."""
    with connect(address, patience) as stream:
        try:
            stream.sendall(payload)
            if end:
                stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it may refuse before all is sent; what it said is what counts
        return hear(stream)


def hear(stream):
    """What comes until the proxy closes."""
    heard = bytearray()
    try:
        while piece := stream.recv(1 << 18):
            heard += piece
    except (ConnectionResetError, BrokenPipeError):
        pass
    return bytes(heard)


def flood(address, head, piece, most):
    """Sends `head` and then `piece` again and again, up to `most` bytes. How many went out, and what came back."""
    sent = 0
    with connect(address) as stream:
        try:
            stream.sendall(head)
            sent = len(head)
            while sent < most:
                sent += stream.send(piece)
        except OSError:
            pass
        try:
            stream.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return sent, hear(stream)


def reset(stream):
    """Ends a connection with a reset instead of an end of file."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def close_all(streams):
    for stream in streams:
        stream.close()


def is_closed(stream):
    """Whether the proxy has ended this connection, without waiting; what it said is thrown away."""
    stream.setblocking(False)
    try:
        while stream.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def closed_within(streams, seconds):
    """How many of these the proxy ends within so many seconds, and when the last one ended."""
    began, open_ones, last = time.monotonic(), list(streams), 0.0
    while open_ones and time.monotonic() - began < seconds:
        left = [stream for stream in open_ones if not is_closed(stream)]
        if len(left) < len(open_ones):
            open_ones, last = left, time.monotonic() - began
        time.sleep(0.05)
    return len(streams) - len(open_ones), last


def pipelined(address, requests, source=""):
    """Sends requests on one connection without waiting for answers, and gives the statuses of these."""
    stream = socket.create_connection(address, PATIENCE, source_address=(source, 0))
    reader = stream.makefile("rb")

    def send():
        for start in range(0, len(requests), 100):
            stream.sendall(b"".join(requests[start:start + 100]))

    sender = threading.Thread(target=send)
    sender.start()
    statuses = []
    for _ in requests:
        statuses.append(int(reader.readline().split()[1]))
        length = 0
        while (line := reader.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        reader.read(length)
    sender.join()
    stream.close()
    return statuses


def converse(address, payloads, half_close=True, patience=PATIENCE):
    """One client for each payload, all at once: each sends its own right behind its connect, ends, and listens.

    What each of them heard, or the error that it met.
    """
    waiting, heard = selectors.DefaultSelector(), [b""] * len(payloads)
    kind = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    for number, payload in enumerate(payloads):
        stream = socket.socket(kind)
        if kind == socket.AF_UNIX:
            # A Unix socket whose queue is full refuses whoever does not want to wait, so these wait.
            stream.settimeout(patience)
            stream.connect(address)
            stream.setblocking(False)
        else:
            stream.setblocking(False)
            stream.connect_ex(address)
        try:
            payload = payload[stream.send(payload):]
        except OSError:
            pass  # not connected yet, or its buffer is full: as soon as it can be written to
        waiting.register(stream, selectors.EVENT_WRITE, [number, payload])
    end = time.monotonic() + patience
    while waiting.get_map():
        ready = waiting.select(max(0.0, end - time.monotonic()))
        if not ready:
            break
        for key, _ in ready:
            step(waiting, key, heard, half_close)
    for key in list(waiting.get_map().values()):
        heard[key.data[0]] = TimeoutError("no answer")
        key.fileobj.close()
    return heard


def step(waiting, key, heard, half_close):
    stream, state = key.fileobj, key.data
    number, payload = state
    try:
        if key.events == selectors.EVENT_WRITE:
            state[1] = payload[stream.send(payload):] if payload else payload
            if not state[1]:
                if half_close:
                    stream.shutdown(socket.SHUT_WR)
                waiting.modify(stream, selectors.EVENT_READ, state)
            return
        piece = stream.recv(65536)
        heard[number] += piece
        if piece:
            return
    except BlockingIOError:
        return
    except OSError as why:
        heard[number] = why
    waiting.unregister(stream)
    stream.close()
