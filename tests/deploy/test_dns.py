import socket
import struct

from tests.deploy.dns import answer, running_dns

NAME = "pods.cigpose.svc.cluster.local"


def question(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack(">6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">2H", 1, 1)


def test_a_query_returns_every_address():
    reply = answer(question(NAME), NAME, ["127.0.0.2", "127.0.0.3"])
    number, flags, questions, answers, _, _ = struct.unpack(">6H", reply[:12])
    assert (number, flags & 0xF, questions, answers) == (7, 0, 1, 2)
    assert reply.endswith(socket.inet_aton("127.0.0.3"))


def test_other_names_do_not_exist():
    reply = answer(question("other.example"), NAME, ["127.0.0.2"])
    _, flags, _, answers, _, _ = struct.unpack(">6H", reply[:12])
    assert (flags & 0xF, answers) == (3, 0)


def test_answers_follow_the_ready_addresses():
    ready = ["127.0.0.2"]
    with running_dns(NAME, lambda: ready) as where, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        host, _, port = where.partition(":")
        client.settimeout(5)
        for count in (1, 0):
            client.sendto(question(NAME), (host, int(port)))
            assert struct.unpack(">6H", client.recv(512)[:12])[3] == count
            ready.clear()
