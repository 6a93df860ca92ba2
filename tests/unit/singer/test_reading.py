"""The message reader: values are read exactly, and errors quote nothing."""

from __future__ import annotations

import io
import json
import os
import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.singerlib.exceptions import InvalidInputLine

from target_activecampaign.singer.reader import MessageReader

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def read(source: Any) -> list[dict[str, Any]]:
    got: list[dict[str, Any]] = []
    MessageReader().process_lines(source, {"RECORD": got.append})
    return got


@given(st.lists(values, max_size=4))
def test_text_input_and_pipe_give_the_same_messages(records: list[Any]) -> None:
    messages = [{"type": "RECORD", "record": record} for record in records]
    text = "".join(json.dumps(message) + "\n" for message in messages)
    assert read(io.StringIO(text)) == messages
    out, into = os.pipe()
    with os.fdopen(into, "wb") as pipe:
        pipe.write(text.encode())
    with os.fdopen(out) as pipe_text:
        assert read(pipe_text) == messages


def test_long_line_and_last_line_without_newline_are_read() -> None:
    message = {"type": "RECORD", "record": "x" * 300_000}
    out, into = os.pipe()

    def write() -> None:
        with os.fdopen(into, "wb") as pipe:
            pipe.write(f"\n{json.dumps(message)}\n{json.dumps(message)}".encode())

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(out) as pipe_text:
        assert read(pipe_text) == [message, message]
    writer.join()


def test_numbers_keep_their_digits() -> None:
    (message,) = read(io.StringIO('{"type":"RECORD","a":1.10,"b":1e400,"c":12345678901234567890}'))
    assert message["a"] == Decimal("1.10")
    assert str(message["a"]) == "1.10"
    assert message["b"] == Decimal("1e400")
    assert message["c"] == 12345678901234567890


def test_number_beyond_decimal_range_becomes_text() -> None:
    line = '{"type":"RECORD","a":1E+99999999999999999999,"b":1.5}'
    (message,) = read(io.StringIO(line))
    assert message["a"] == "1E+99999999999999999999"
    assert message["b"] == Decimal("1.5")


def test_nonstandard_json_of_taps_is_read() -> None:
    (message,) = read(io.StringIO('{"type":"RECORD","a":NaN,"b":"\\ud800"}'))
    assert message["a"] != message["a"]
    assert message["b"] == "\ud800"


@pytest.mark.parametrize(
    "line",
    [
        '{"type":"RECORD","record":{"email":"ada@example.com"}',
        "ada@example.com",
        '["ada@example.com"]',
        '{"type":"ada@example.com"}',
        '{"record":"ada@example.com"}',
        '{"type":["ada@example.com"]}',
    ],
)
def test_invalid_line_is_named_by_number_and_not_quoted(
    line: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidInputLine) as error:
        read(io.StringIO(f'{{"type":"RECORD"}}\n{line}\n'))
    assert "Line 2" in str(error.value)
    output = capsys.readouterr()
    assert "ada@" not in str(error.value) + caplog.text + output.out + output.err
    assert error.value.__cause__ is None


def test_stop_ends_a_blocked_read() -> None:
    reader = MessageReader()
    out, into = os.pipe()
    os.write(into, b'{"type":"RECORD"}\n')
    got: list[dict[str, Any]] = []

    def take(message: dict[str, Any]) -> None:
        got.append(message)
        threading.Timer(0.1, reader.stop).start()

    with os.fdopen(out) as pipe_text:
        reader.process_lines(pipe_text, {"RECORD": take})
    os.close(into)
    assert len(got) == 1
