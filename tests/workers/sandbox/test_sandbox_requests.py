"""How requests end: well, with an error, or with a killed child."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from app.errors import UserError
from workers.sandbox import (
    SandboxCancelled,
    SandboxCrashed,
    SandboxFailed,
    SandboxMemory,
    SandboxTimeout,
)

ROOT = Path(__file__).resolve().parents[3]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_child_stays_warm(box):
    assert box.request("guests:remember", {"value": 1}) == {"values": [1]}
    assert box.request("guests:remember", {"value": 2}) == {"values": [1, 2]}


def test_unicode_and_large_payloads_pass(box):
    payload = {"text": "Bäckerei 🥨 " * 50_000, "nested": [1, 2.5, None, {"a": []}]}
    assert box.request("guests:echo", payload)["payload"] == payload


def test_progress_arrives_in_order(box):
    heard = []
    box.request("guests:count", {"total": 500}, on_progress=heard.append)
    assert heard == [{"done": number} for number in range(1, 501)]


def test_printing_does_not_disturb(box):
    assert box.request("guests:chat", {}) == {"stdin": ""}
    box.request("guests:echo", {})
    assert "to standard output" in box.tail
    assert "raw to 1" in box.tail


def test_a_user_error_comes_out_as_one_and_the_child_lives(box):
    pid = box.request("guests:echo", {})["pid"]
    with pytest.raises(UserError, match=r"The file is a pickle\. Convert it\.") as caught:
        box.request("guests:user_error", {})
    assert type(caught.value) is UserError
    assert box.request("guests:echo", {})["pid"] == pid


def test_other_errors_are_failures_with_a_trace(box):
    pid = box.request("guests:echo", {})["pid"]
    with pytest.raises(SandboxFailed, match="ValueError: no such thing") as caught:
        box.request("guests:value_error", {})
    assert "Traceback" in caught.value.tail
    with pytest.raises(SandboxFailed):
        box.request("guests:not_json", {})
    assert box.request("guests:echo", {})["pid"] == pid


@pytest.mark.parametrize("function", ["guests:missing", "guests:_read", "guests_elsewhere:run"])
def test_what_does_not_exist_is_a_failure(box, function):
    with pytest.raises(SandboxFailed):
        box.request(function, {})


def test_an_endless_loop_is_killed_and_the_next_request_gets_a_fresh_child(box):
    pid = box.request("guests:echo", {})["pid"]
    began = time.monotonic()
    with pytest.raises(SandboxTimeout, match=r"within 0\.5 s"):
        box.request("guests:loop", {}, timeout=0.5)
    assert time.monotonic() - began < 5
    assert not alive(pid)
    assert box.request("guests:remember", {"value": 1}) == {"values": [1]}
    assert box.pid != pid


def test_a_loop_that_never_yields_is_killed(box):
    with pytest.raises(SandboxTimeout):
        box.request("guests:loop_in_c", {}, timeout=0.5)


def test_processor_time_is_bounded(make_sandbox):
    with pytest.raises(SandboxTimeout, match="processor time"):
        make_sandbox(cpu_seconds=0.3).request("guests:loop", {})


def test_memory_is_bounded(make_sandbox):
    sandbox = make_sandbox(memory_bytes=100 * 2**20)
    assert sandbox.request("guests:eat_memory", {"megabytes": 20}) == {"held": 20}
    with pytest.raises(SandboxMemory, match=r"0\.1 GiB"):
        sandbox.request("guests:eat_memory", {"megabytes": 4000})
    assert sandbox.pid is None


def test_the_folder_is_bounded(make_sandbox):
    with pytest.raises(SandboxMemory, match="of files"):
        make_sandbox(folder_bytes=20 * 2**20).request("guests:fill_folder", {})


def test_cancelling_kills(box):
    began = threading.Event()
    with pytest.raises(SandboxCancelled):
        box.request("guests:sleep", {"seconds": 60}, on_progress=lambda _: began.set(), should_stop=began.is_set)
    assert box.pid is None
    assert box.request("guests:echo", {})["payload"] == {}


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("exit_quietly", "exit code 0"),
        ("crash", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("talk_nonsense", "no message"),
        ("forge", "out of turn"),
        ("flood", "64 MiB"),
        ("not_a_dict", "no message"),
    ],
)
def test_whatever_a_broken_child_does_is_one_error(box, function, words):
    with pytest.raises(SandboxCrashed, match=words):
        box.request(f"guests:{function}", {})
    assert box.request("guests:echo", {})["payload"] == {}


def test_closing_ends_the_child(box):
    pid = box.request("guests:echo", {})["pid"]
    box.close()
    assert not alive(pid)
    box.close()


def test_a_child_killed_from_outside_is_replaced(box):
    pid = box.request("guests:echo", {})["pid"]
    os.kill(pid, 9)
    time.sleep(0.2)
    assert box.request("guests:echo", {})["pid"] != pid


def test_an_interrupt_of_the_worker_kills_the_child(box):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        box.request("guests:sleep", {"seconds": 60}, on_progress=interrupt)
    assert box.pid is None


def test_the_child_outlives_the_thread_that_started_it(box):
    pids = []
    thread = threading.Thread(target=lambda: pids.append(box.request("guests:echo", {})["pid"]))
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert box.request("guests:echo", {})["pid"] == pids[0]


def test_requests_from_several_threads_take_turns(box):
    answers = []

    def ask(number):
        answers.append(box.request("guests:echo", {"number": number})["payload"]["number"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(8))


def test_the_child_dies_with_the_worker(tmp_path):
    program = """
import sys, time
from pathlib import Path
from workers.sandbox import Limits, Sandbox
box = Sandbox(Path(sys.argv[1]), Limits())
box.request("workers.sandbox.probe:attempt", {"secret": "/nowhere", "port": 1})
print(box.pid, flush=True)
time.sleep(60)
"""
    worker = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "in")], cwd=ROOT, stdout=subprocess.PIPE)
    with worker:
        pid = int(worker.stdout.readline())
        assert alive(pid)
        worker.kill()
    for _ in range(50):
        if not alive(pid):
            break
        time.sleep(0.1)
    assert not alive(pid)
