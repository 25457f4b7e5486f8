"""`minimind serve` with clients that are slow, rude, broken or gone: afterwards an ordinary request is answered."""

import contextlib
import json
import random
import re
import select
import socket
import time

import pytest
from conftest import wait_until
from random_model import make_model
from serving import Server, events

TIMEOUT = 1.0


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer_directory):
    return make_model(tmp_path_factory.mktemp("serve") / "model", tokenizer_directory, context=100_000, scale=0.15)


@pytest.fixture(scope="module")
def shared_server(binary, model):
    with Server(binary, model, "--client-timeout", TIMEOUT, "--parallel", 4, "--queue", 4) as server:
        yield server


@pytest.fixture
def server(shared_server):
    yield shared_server
    shared_server.wait_until_idle()
    status, reply = shared_server.post("/v1/completions", prompt="Hello", max_tokens=3, temperature=0, ignore_eos=True)
    assert status == 200 and reply["usage"]["completion_tokens"] == 3


def read_to_end(connection):
    """All that the server sends before it closes the connection."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def long_request(stream, path="/v1/completions", tokens=90_000):
    body = json.dumps({"prompt": "Hello", "max_tokens": tokens, "ignore_eos": True, "stream": stream}).encode()
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body


@pytest.mark.parametrize("beginning", [
    b"", b"POST /v1/comp", b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"])
def test_a_request_that_never_ends_is_given_up(server, beginning):
    start = time.monotonic()
    with server.connect() as connection:
        connection.sendall(beginning)

        def is_closed():
            # A byte now and then makes no difference.
            try:
                connection.sendall(b"x")
            except OSError:
                return True
            return bool(select.select([connection], [], [], 0.2)[0])

        wait_until(is_closed, "the connection stays open")
        assert time.monotonic() - start >= TIMEOUT


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_nobody_waits_for_is_cancelled(server, stream):
    def failed():
        return [server.requests("/completions", status) for status in (499, 503)]

    before, failed_before = server.metric("generated_tokens_total"), failed()
    connections = [server.connect() for _ in range(6)]  # two of them wait for a place
    for connection in connections:
        connection.sendall(long_request(stream))
    wait_until(lambda: server.metric("generated_tokens_total") >= before + 10
               and server.metric("sequences_running") + server.metric("sequences_waiting") == 6, "not all are accepted")
    for connection in connections:
        connection.close()
    server.wait_until_idle()
    assert server.metric("generated_tokens_total") - before < 6 * 90_000 / 2
    # A stream's status is out when it begins.
    assert failed() == [failed_before[0] + (0 if stream else 6), failed_before[1]]


def test_a_reader_that_does_not_read_is_given_up(server):
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        before = server.metric("generated_tokens_total")
        connection.sendall(long_request(True))
        wait_until(lambda: server.metric("generated_tokens_total") >= before + 100, "nothing is generated")
        server.wait_until_idle()
        assert server.metric("generated_tokens_total") - before < 60_000


def test_bodies_and_headers_that_are_too_large(server):
    status, _, body = server.request("POST", "/v1/completions", b" " * (5 << 20))
    assert status == 413 and json.loads(body)["error"]["code"] == "request_too_large"
    with server.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")
        assert b" 4" in read_to_end(connection)[:13]
    with server.connect() as connection:
        try:
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999\r\n\r\n")
            for _ in range(1000):
                connection.sendall(b" " * 65536)
        except OSError:
            pass
        else:
            pytest.fail("the server took 64 MB")


@pytest.mark.parametrize("text", [
    b"\r\n\r\n", b"\x00" * 64, b"\xff\xfe\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"GET /%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /v1/models/%2e%2e%2fetc HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"get /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"GET\t/health\tHTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /health /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /health HTTP/1.1x\r\nHost: localhost\r\n\r\n",
    b"GET /health HTTP/1.1\rHost: localhost\r\r", b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /health%00x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"G" * 100_000 + b" /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 20_000 + b"\r\n",
    *(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n{}"
      for length in (b"", b"+2", b"2x", b"0x2", b"2, 2", b"9" * 30)),
    *(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body
      for body in (b"f" * 18 + b"\r\n{}", b"7" + b"f" * 15 + b"\r\n{}", b"-2\r\n{}\r\n0\r\n\r\n", b"0x2\r\n{}\r\n0\r\n\r\n",
                   b" 2\r\n{}\r\n0\r\n\r\n", b"2\r\n{}XX0\r\n\r\n", b"\r\n{}\r\n0\r\n\r\n",
                   b"2;" + b"a" * 100_000 + b"\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n0\r\n" + b"X: a\r\n" * 20_000 + b"\r\n")),
])
def test_what_is_no_request_gets_no_answer_but_an_error(server, text):
    with server.connect() as connection:
        try:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has been told no before it had said all
        answer = read_to_end(connection)
        assert b" 200 " not in answer.split(b"\r\n")[0] and b"root:" not in answer


@pytest.mark.parametrize("headers", [
    b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    b"Content-Length: 0\r\nContent-Length: 4\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Host: evil.example\r\nContent-Length: 4\r\n"])
def test_a_request_whose_end_is_not_plain_hides_no_other(server, headers):
    one = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n0\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(one + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = read_to_end(connection)
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.startswith(b"HTTP/1.1 400 ") and b"malformed_request" in answer


def test_chunked_bodies_and_requests_one_after_another(server):
    body = json.dumps({"prompt": "Hello", "max_tokens": 2, "ignore_eos": True}).encode()
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body) + b"0\r\n\r\n"
    one = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    two = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(one + two)
        answer = read_to_end(connection)
    assert answer.count(b"HTTP/1.1 200 OK") == 2 and b'"completion_tokens":2' in answer and b'"ok"' in answer


def test_more_connections_than_there_is_room_for(binary, model):
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    # No connection is closed for being idle.
    with Server(binary, model, "--client-timeout", 10_000) as server, contextlib.ExitStack() as connections:
        opened = [connections.enter_context(server.connect()) for _ in range(600)]
        for connection in opened[:512]:
            connection.sendall(request)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        # The others wait until there is room for them.
        for connection in opened[512:]:
            connection.sendall(request)
        assert select.select(opened[512:], [], [], 1)[0] == []
        for connection in opened[:100]:
            connection.close()
        for connection in opened[512:]:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def test_random_bytes_between_good_requests(server):
    generator = random.Random(1)
    body = long_request(False, tokens=2)
    for _ in range(60):
        damaged = bytearray(body)
        for _ in range(generator.randint(1, 4)):
            place = generator.randrange(len(damaged))
            damaged[place:place + generator.randint(0, 8)] = generator.randbytes(generator.randint(0, 8))
        with server.connect() as connection:
            connection.sendall(bytes(damaged))
            connection.shutdown(socket.SHUT_WR)
            answer = read_to_end(connection)
            # An answer, a refusal, or nothing where there was no whole request.
            assert answer == b"" or re.match(rb"HTTP/1\.[01] (200|4\d\d|501|505) ", answer), answer[:200]


def test_pages_elsewhere(binary, model, server):
    elsewhere = {"Origin": "https://a.example"}
    assert server.request("GET", "/v1/models", headers=elsewhere)[0] == 403
    assert server.request("POST", "/v1/completions", b"{}", elsewhere | {"Content-Type": "text/plain"})[0] == 403
    assert server.request("GET", "/v1/models", headers={"Origin": f"http://127.0.0.1:{server.port}"})[0] == 200
    with Server(binary, model, "--cors-origin", "https://a.example", "--api-key", "k") as open_server:
        status, headers, _ = open_server.request("OPTIONS", "/v1/chat/completions", headers=elsewhere | {
            "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-stainless-os"})
        assert status == 204 and headers["Access-Control-Allow-Origin"] == "https://a.example"
        assert "x-stainless-os" in headers["Access-Control-Allow-Headers"]
        status, headers, _ = open_server.request("GET", "/v1/models", headers=elsewhere | {"Authorization": "Bearer k"})
        assert status == 200 and headers["Access-Control-Allow-Origin"] == "https://a.example"
        assert open_server.request("GET", "/v1/models", headers={"Origin": "https://b.example"})[0] == 403


def test_who_may_listen_where(binary, model, minimind):
    refused = minimind("serve", "--model", model, "--host", "0.0.0.0", "--port", 0, check=False)
    assert refused.returncode == 2 and "--api-key-file" in refused.stderr and "--allow-open" in refused.stderr
    with Server(binary, model, "--host", "0.0.0.0", "--api-key", "k") as server:
        assert server.request("GET", "/health")[0] == 200
        taken = minimind("serve", "--model", model, "--port", server.port, check=False)
        assert taken.returncode == 1 and "another program uses this port" in taken.stderr
    unknown = minimind("serve", "--model", model, "--host", "256.0.0.1", "--api-key", "k", check=False)
    assert unknown.returncode == 1 and "--host" in unknown.stderr


def test_a_silent_stream_ends_as_it_should(server):
    status, _, body = server.request(
        "POST", "/v1/completions", {"prompt": "Hello", "max_tokens": 0, "stream": True})
    assert status == 200 and events(body)[-1]["choices"][0]["finish_reason"] == "length"
