"""Which PDFs are whole: of every shape that writers make, and with what is found around them."""

import re
from pathlib import Path

import pytest

from services.uploads.file_types import pdf
from services.uploads.file_types.registry import PDF, kind_of
from shared.problems import Problem
from tests.uploads import samples

CLASSIC = samples.pdf()
OBJECTS = CLASSIC[: CLASSIC.index(b"xref")]
INDEX = b"0 4 " * 5000


def stream(type_: bytes = b"/Type/XRef", rest: bytes = b"/Root 1 0 R/Size 4") -> bytes:
    """Return a PDF whose table is a stream, as of version 1.5."""
    table = b"3 0 obj\n<<%b/W[1 2 1]/Index[%b]/Length 16%b>>\nstream\n%b\nendstream\nendobj\n"
    return OBJECTS + table % (type_, INDEX, rest, b"\1\0\0\2" * 4) + b"startxref\n%d\n%%%%EOF\n" % len(OBJECTS)


def updated(data: bytes, times: int = 1) -> bytes:
    """Return a PDF to which so many changes were added, each with a table of its own."""
    for _ in range(times):
        place, before = len(data), data.rindex(b"startxref") + 10
        previous = int(data[before:].split()[0])
        data += b"2 0 obj\n<</Type/Pages/Kids[]/Count 0>>\nendobj\n"
        table = b"xref\n2 1\n%010d 00000 n \ntrailer\n<</Size 3/Root 1 0 R/Prev %d>>\n" % (place, previous)
        data += table + b"startxref\n%d\n%%%%EOF\n" % len(data)
    return data


def linearised() -> bytes:
    """Return a PDF to be read while it arrives: the table for its first page is at its beginning."""
    start = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n9 0 obj\n<</Linearized 1/L 999/H[1 2]/O 1/E 9/N 1/T 9>>\nendobj\n"
    first = b"xref\n1 2\n0000000300 00000 n \n0000000350 00000 n \ntrailer\n<</Size 3/Prev %010d/Root 1 0 R>>\n"
    first += b"startxref\n0\n%%%%EOF\n"
    objects = OBJECTS.partition(b"\n")[2]
    main = b"xref\n0 1\n0000000000 65535 f \ntrailer\n<</Size 1>>\nstartxref\n%d\n%%%%EOF\n" % len(start)
    return start + first % len(start + first % 0 + objects) + objects + main


def counted(data: bytes) -> bytes:
    """Return a PDF that says where its table is, counted from the beginning of the file."""
    return re.sub(rb"\d+(?=\s+%%EOF)", b"%012d" % data.index(b"xref"), data)


PJL = b"\x1b%-12345X@PJL JOB\r\n@PJL ENTER LANGUAGE=PDF\r\n"
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n"
WHOLE = {
    "a table": CLASSIC,
    "a table after much": samples.pdf(300_000),
    "lines that end in CR LF": counted(CLASSIC.replace(b" \n", b"\n").replace(b"\n", b"\r\n")),
    "lines that end in CR": CLASSIC.replace(b"\n", b"\r"),
    "entries without their spaces": CLASSIC.replace(b" \n", b"\n"),
    "a table of nothing": OBJECTS
    + b"xref\n0 0\ntrailer\n<</Root 1 0 R/Size 3>>\nstartxref\n%d\n%%%%EOF" % len(OBJECTS),
    "a table as a stream": stream(),
    "a table as a stream, spaced": stream(b"/Type /XRef", b"\r\n/Size\r\n4\r\n/Root\r\n1 0 R\r\n"),
    "linearised": linearised(),
    "changed once": updated(CLASSIC),
    "a stream, changed often": updated(stream(), 9),
    "version 1.0": CLASSIC.replace(b"1.7", b"1.0"),
    "version 2.0": CLASSIC.replace(b"1.7", b"2.0"),
    "binary in the trailer": CLASSIC.replace(b"/Root", b"/ID[(>>\0\xff)<00>]/Root"),
    "blank lines before": b"\n" * 1024 + CLASSIC,
    "a byte order mark before": b"\xef\xbb\xbf" + CLASSIC,
    "commands of a printer around": PJL + CLASSIC + b"\x1b%-12345X",
    "a head of HTTP before, counted": counted(HTTP + CLASSIC),
    "a stream behind a head of HTTP": HTTP + stream(),
    "padding behind": CLASSIC + bytes(1000),
    "no line end behind": CLASSIC.rstrip(),
}
BROKEN = {
    "no version": CLASSIC.replace(b"1.7", b"x.y"),
    "no root": CLASSIC.replace(b"/Root", b"/Boot"),
    "no size": CLASSIC.replace(b"/Size", b"/Bite"),
    "a stream without root": stream(rest=b"/Size 4"),
    "a stream of another type": stream(b"/Type/ObjStm"),
    "a stream without end": stream().replace(b"endstream", b"endstreet"),
    "a trailer that does not end": CLASSIC.replace(b"<</Size", b"<<" + b" " * 70_000 + b"/Size"),
    "a table of something else": CLASSIC.replace(b"0000000000 65535 f", b"0000000000 6553x f"),
    "a table behind the end": CLASSIC.replace(b"startxref\n0", b"startxref\n9"),
    "a table at no place": re.sub(rb"startxref\n\d+", b"startxref\n", CLASSIC),
    "a piece taken out": CLASSIC[:40] + CLASSIC[41:],
    "a piece put in": CLASSIC[:40] + b"xx" + CLASSIC[40:],
    "the beginning of another": linearised()[:200] + CLASSIC[40:],
    "the first part of a linearised one": linearised()[: linearised().index(b"%%EOF") + 5],
    "much behind": CLASSIC + b" " * 1025,
    "a page behind": CLASSIC + samples.HTML,
    "an archive behind": CLASSIC + samples.ZIP,
    "an archive around its end": samples.zipped(CLASSIC),
    "another end behind an archive": CLASSIC + samples.ZIP + b"%%EOF",
    "an end alone": b"%PDF-1.7\n%%EOF",
}
NONE = {
    "much before": b" " * 1025 + CLASSIC,
    "a page before": samples.HTML + CLASSIC,
    "an archive before": samples.ZIP + CLASSIC,
    "a program before": b"MZ\x90\0" + CLASSIC,
    "PostScript": b"%!PS-Adobe-3.0\n" * 100,
}


def is_whole(folder: Path, data: bytes) -> bool:
    file = folder / "a.pdf"
    file.write_bytes(data)
    with file.open("r+b") as draft:
        try:
            pdf.check(draft)
        except Problem:
            return False
        return True


@pytest.mark.parametrize("ending", [b"", b"\n", b"\x1a", b"%%EOF\x1a\x1a", b"%%EOF\r\n\0\0\x1a"])
def test_an_end_may_be_written_badly(tmp_path: Path, ending: bytes) -> None:
    assert is_whole(tmp_path, CLASSIC.rstrip().removesuffix(b"%%EOF") + ending)


@pytest.mark.parametrize("shape", WHOLE)
def test_a_pdf_of_any_shape_is_taken(tmp_path: Path, shape: str) -> None:
    assert kind_of(WHOLE[shape]) is PDF
    assert is_whole(tmp_path, WHOLE[shape])


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_one_is_not(tmp_path: Path, fault: str) -> None:
    assert kind_of(BROKEN[fault]) is PDF
    assert not is_whole(tmp_path, BROKEN[fault])


@pytest.mark.parametrize("shape", ["a table", "a table as a stream", "linearised"])
def test_nothing_can_be_cut_off(tmp_path: Path, shape: str) -> None:
    data = WHOLE[shape][: WHOLE[shape].rindex(b"startxref")].rstrip() + b"\nstartxref"  # behind it all is there
    assert [size for size in range(len(data) % 7 + 1, len(data), 7) if is_whole(tmp_path, data[:size])] == []


@pytest.mark.parametrize("case", NONE)
def test_what_does_not_begin_as_one_is_refused_at_once(case: str) -> None:
    with pytest.raises(Problem, match="UNSUPPORTED_MEDIA_TYPE"):
        kind_of(NONE[case])


def test_more_is_asked_for_while_it_may_become_one() -> None:
    assert [kind_of(HTTP[:size]) for size in (0, 1, 20, len(HTTP))] == [None] * 4
