"""An OTLP sink over gRPC and HTTP that nobody of this project wrote the protocol of: grpcio and opentelemetry-proto.

It prints `ready grpc=ADDR http=ADDR`, and writes each item it took as a line (see otlp_items) to --items, and the
identifying attributes of each request as one line to --ids. `--lose-replies N` takes every Nth request and ends the
connection without an answer, as a sink does that dies after its commit.

    python otlp_sink.py --items FILE --ids FILE [--lose-replies N]
"""

import argparse
import base64
import gzip
import json
import os
import socket
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf import json_format

import otlp_items

SERVICES = {
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
}


class Ledger:
    def __init__(self, items, ids, lose_replies):
        self.items, self.ids = open(items, "a"), open(ids, "a")
        self.lock = threading.Lock()
        self.lose_replies, self.requests = lose_replies, 0

    def take(self, signal, request):
        """Writes the request down; false when its answer is to be lost."""
        items = [f"{item}\n" for item in otlp_items.flatten(signal, request)]
        ids = [str(entry) for entry in otlp_items.ids(signal, request)]
        with self.lock:
            self.items.writelines(items)
            self.items.flush()
            if ids:
                self.ids.write(signal + " " + " ".join(ids) + "\n")
                self.ids.flush()
            self.requests += 1
            return not self.lose_replies or self.requests % self.lose_replies != 0


def grpc_server(ledger):
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=8), options=[("grpc.max_receive_message_length", 64 << 20)]
    )

    def handler(signal):
        def export(request, context):
            if not ledger.take(signal, request):
                context.abort(grpc.StatusCode.UNAVAILABLE, "the reply is lost")
            return None

        return grpc.method_handlers_generic_handler(
            SERVICES[signal],
            {
                "Export": grpc.unary_unary_rpc_method_handler(
                    export,
                    request_deserializer=otlp_items.REQUESTS[signal].FromString,
                    # Every field of an Export*ServiceResponse is optional: nothing is full success.
                    response_serializer=lambda _: b"",
                )
            },
        )

    for signal in SERVICES:
        server.add_generic_rpc_handlers((handler(signal),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def http_server(ledger):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.chunks() if "Content-Length" not in self.headers else self.whole()
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            signal = self.path.rsplit("/", 1)[-1]
            kind = otlp_items.REQUESTS[signal]
            if self.headers["Content-Type"] == "application/json":
                request = json_request(kind, body)
            else:
                request = kind.FromString(body)
            if not ledger.take(signal, request):
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Type", self.headers["Content-Type"])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def whole(self):
            return self.rfile.read(int(self.headers["Content-Length"]))

        def chunks(self):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_address[1]


def json_request(kind, body):
    """OTLP/JSON has its ids in hex where proto3 JSON has base64."""
    def mend(node):
        if isinstance(node, list):
            return [mend(entry) for entry in node]
        if isinstance(node, dict):
            out = {}
            for key, content in node.items():
                if key in ("traceId", "spanId", "parentSpanId") and isinstance(content, str):
                    out[key] = base64.b64encode(bytes.fromhex(content)).decode()
                else:
                    out[key] = mend(content)
            return out
        return node

    return json_format.ParseDict(mend(json.loads(body)), kind())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", required=True)
    parser.add_argument("--ids", required=True)
    parser.add_argument("--lose-replies", type=int, default=0)
    options = parser.parse_args()
    ledger = Ledger(options.items, options.ids, options.lose_replies)
    over_grpc, grpc_port = grpc_server(ledger)
    _, http_port = http_server(ledger)
    print(f"ready grpc=127.0.0.1:{grpc_port} http=127.0.0.1:{http_port}", flush=True)
    # Ends with whoever started it.
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.5)
    over_grpc.stop(0)


if __name__ == "__main__":
    main()
