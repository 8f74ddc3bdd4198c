"""A media store on loopback with a line in front of it: GET with Range, a round trip's latency, a shared rate, and counts.

    range_server.py FOLDER PORT [LATENCY_MS] [MBIT_PER_S]

Every answer is late by the latency, and the first on a connection once more, for its set-up. All connections share the
rate. `GET /_counts` tells requests, connections and body bytes sent since the last time it was asked."""

import asyncio
import json
import mimetypes
import pathlib
import re
import socket
import sys

CHUNK = 16 << 10


class Store:
    def __init__(self, folder, latency_ms=0.0, mbit_per_s=0.0):
        self.folder = pathlib.Path(folder)
        self.latency = latency_ms / 1000
        self.bytes_per_s = mbit_per_s * 125_000
        self.line_free_at = 0.0
        self.counts = {"requests": 0, "connections": 0, "bytes": 0}

    async def serve(self, reader, writer):
        self.counts["connections"] += 1
        # Little waits in the kernel, so that what is counted is about what was received.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
        writer.transport.set_write_buffer_limits(high=0)
        latency = 2 * self.latency
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                if head.startswith("GET /_counts"):
                    await self.tell(writer)
                    continue
                await asyncio.sleep(latency)
                latency = self.latency
                await self.answer(head, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def tell(self, writer):
        # The asking connection is not one of those counted.
        self.counts["connections"] -= 1
        body = json.dumps(self.counts).encode()
        self.counts = dict.fromkeys(self.counts, 0)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        raise ConnectionResetError

    async def answer(self, head, writer):
        self.counts["requests"] += 1
        method, target = head.split(" ")[:2]
        file = self.folder / pathlib.PurePosixPath(target.split("?")[0]).name
        if method not in ("GET", "HEAD") or not file.is_file():
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return await writer.drain()
        about = file.stat()
        first, last, status = 0, about.st_size - 1, "200 OK"
        if asked := re.search(r"\r\nrange: *bytes=(\d*)-(\d*)\r\n", head, re.IGNORECASE):
            if asked[1]:
                first, last = int(asked[1]), min(int(asked[2] or last), last)
            else:
                first = max(0, about.st_size - int(asked[2]))
            status = "206 Partial Content" if first <= last else "416 Range Not Satisfiable"
        lines = [f"HTTP/1.1 {status}", "Accept-Ranges: bytes", f'ETag: "{about.st_mtime_ns:x}-{about.st_size:x}"']
        lines += [f"Content-Type: {mimetypes.guess_type(file.name)[0] or 'application/octet-stream'}"]
        lines += [f"Content-Length: {max(0, last + 1 - first)}"]
        if asked:
            lines += [f"Content-Range: bytes {f'{first}-{last}' if first <= last else '*'}/{about.st_size}"]
        writer.write("\r\n".join(lines + ["", ""]).encode())
        await writer.drain()
        if method == "GET":
            with file.open("rb") as opened:
                opened.seek(first)
                await self.send(opened, last + 1 - first, writer)

    async def send(self, opened, left, writer):
        clock = asyncio.get_running_loop().time
        while left > 0:
            chunk = opened.read(min(CHUNK, left))
            if self.bytes_per_s:
                self.line_free_at = max(self.line_free_at, clock()) + len(chunk) / self.bytes_per_s
                # Sleeps shorter than this cost more than they are worth.
                if self.line_free_at - clock() > 0.002:
                    await asyncio.sleep(self.line_free_at - clock())
            writer.write(chunk)
            await writer.drain()
            left -= len(chunk)
            self.counts["bytes"] += len(chunk)


async def main(folder, port, *line):
    store = Store(folder, *map(float, line))
    server = await asyncio.start_server(store.serve, "127.0.0.1", int(port))
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        pass
