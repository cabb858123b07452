from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricecast_core.errors import PricecastError, SettingsError, SourceError
from pricecast_core.messages import News
from pricecast_news.archive import Archive
from pricecast_news.source import Refused
from tests.unit.news.conftest import Site

CSV = """id,title,sourceId,newsDatetime,url
7,"Bitcoin, again",coindesk.com,2021-03-02 10:00:00,https://a.example/7
,"Ether ""soars""
on news",u.today,2021-03-01 09:30:00,
9,,u.today,2021-03-01 09:30:00,
10,Undated,u.today,soon,
"""


def read(path: Path, max_bytes: int = 1_000_000) -> tuple[list[News], list[Refused]]:
    items = list(Archive(str(path), max_bytes).read())
    return [item for item in items if isinstance(item, News)], [item for item in items if isinstance(item, Refused)]


def write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def zipped(path: Path, files: dict[str, str], **options: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def rar5(files: dict[str, bytes]) -> bytes:
    """A RAR 5 archive of stored files, built from the published format."""

    def vint(value: int) -> bytes:
        out = bytearray()
        while True:
            byte, value = value & 0x7F, value >> 7
            out.append(byte | (0x80 if value else 0))
            if not value:
                return bytes(out)

    def block(body: bytes) -> bytes:
        sized = vint(len(body)) + body
        return struct.pack("<I", zlib.crc32(sized)) + sized

    out = b"Rar!\x1a\x07\x01\x00" + block(vint(1) + vint(0) + vint(0))
    for name, data in files.items():
        fields = vint(4) + vint(len(data)) + vint(0o100644) + struct.pack("<I", zlib.crc32(data))
        fields += vint(0) + vint(1) + vint(len(name.encode())) + name.encode()
        out += block(vint(2) + vint(2) + vint(len(data)) + fields) + data
    return out + block(vint(5) + vint(0) + vint(0))


def test_rows_come_in_the_order_of_their_times_and_bad_ones_are_refused(tmp_path: Path) -> None:
    news, refused = read(write(tmp_path / "news.csv", CSV))
    assert [item.title for item in news] == ['Ether "soars" on news', "Bitcoin, again"]
    assert (news[1].id, news[1].source, news[1].published_at) == ("archive:7", "coindesk.com", "2021-03-02T10:00:00Z")
    assert [item.error.field for item in refused] == ["title", "published_at"]


def test_json_lines_are_read_too(tmp_path: Path) -> None:
    lines = '{"id": 1, "title": "A", "published_at": "2024-01-02T03:04:05Z"}\n\nnot json\n'
    news, refused = read(write(tmp_path / "news.jsonl", lines))
    assert [item.id for item in news] == ["archive:1"]
    assert [item.position for item in refused] == [3]


@pytest.mark.parametrize("offset", ["+2400", "GMT-99:00"])
def test_a_row_with_an_impossible_offset_is_refused_and_the_others_are_read(tmp_path: Path, offset: str) -> None:
    when = f"2024-06-04 12:00:00 {offset}"
    table = write(tmp_path / "news.csv", f"title,newsDatetime\nA,{when}\nB,2024-06-04\n")
    lines = write(
        tmp_path / "news.jsonl",
        f'{{"title": "A", "published_at": "{when}"}}\n{{"title": "B", "published_at": "2024-06-04"}}\n',
    )
    for path in (table, lines):
        news, refused = read(path)
        assert [item.title for item in news] == ["B"]
        assert [item.error.field for item in refused] == ["published_at"]


def test_zip_and_rar_give_what_the_plain_file_gives(tmp_path: Path) -> None:
    plain = read(write(tmp_path / "news.csv", CSV))[0]
    files = {"readme.txt": "hello", "other.csv": "a,b\n1,2\n", "dir/news.csv": CSV}
    assert read(zipped(tmp_path / "news.zip", files))[0] == plain
    stored = rar5({name: text.encode() for name, text in files.items()})
    assert read(write(tmp_path / "news.rar", stored))[0] == plain


def test_an_archive_is_fetched_by_address(tmp_path: Path, site: Site) -> None:
    site.pages["/d/news.zip"] = (200, {}, zipped(tmp_path / "n.zip", {"n.csv": CSV}).read_bytes())
    items = list(Archive(f"{site.url}/d/news.zip?token=x", 1_000_000).read())
    assert sum(isinstance(item, News) for item in items) == 2
    site.pages["/d/news.zip"] = (500, {}, b"")
    with pytest.raises(SourceError) as caught:
        list(Archive(f"{site.url}/d/news.zip?token=x", 1_000_000).read())
    assert "token" not in str(caught.value)


def test_names_that_climb_out_write_nothing(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = zipped(inside / "evil.zip", {"../../outside.csv": CSV, "/etc/pricecast.csv": CSV})
    assert read(path)[0]
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["evil.zip", "inside"]


def test_a_bomb_is_stopped_at_the_bound(tmp_path: Path) -> None:
    bomb = "title,newsDatetime\n" + "x,2021-01-01\n" * 200_000
    path = zipped(tmp_path / "bomb.zip", {"n.csv": bomb})
    assert path.stat().st_size < 20_000
    with pytest.raises(SettingsError, match="archive_max_bytes"):
        read(path, 1_000_000)


def test_a_bomb_that_lies_about_its_size_is_stopped_at_the_bound(tmp_path: Path) -> None:
    bomb = "title,newsDatetime\n" + "x,2021-01-01\n" * 200_000
    data = bytearray(zipped(tmp_path / "bomb.zip", {"n.csv": bomb}).read_bytes())
    true_size = struct.pack("<I", len(bomb))
    lie = bytes(data).replace(true_size, struct.pack("<I", 100))
    with pytest.raises(PricecastError):
        read(write(tmp_path / "lie.zip", lie), 1_000_000)


@pytest.mark.parametrize("name", ["news.csv", "news.zip", "news.rar"])
def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="archive_max_bytes"):
        read(write(tmp_path / name, b"x" * 2_000), 1_000)


def test_a_file_that_is_absent_or_no_table_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="can't be read"):
        read(tmp_path / "absent.csv")
    with pytest.raises(SettingsError, match="no columns"):
        read(write(tmp_path / "other.csv", "a,b\n1,2\n"))
    with pytest.raises(SettingsError, match="holds no CSV"):
        read(zipped(tmp_path / "other.zip", {"a.txt": "hello"}))


def test_a_truncated_archive_is_a_source_error(tmp_path: Path) -> None:
    whole = rar5({"n.csv": CSV.encode()})
    with pytest.raises(PricecastError):
        read(write(tmp_path / "cut.rar", whole[:-40]))
    data = zipped(tmp_path / "n.zip", {"n.csv": CSV * 100}).read_bytes()
    broken = data[:80] + b"\0" * 40 + data[120:]
    with pytest.raises(PricecastError):
        read(write(tmp_path / "broken.zip", broken))


def test_a_truncated_line_is_refused(tmp_path: Path) -> None:
    _, refused = read(write(tmp_path / "n.csv", "title,sourceId,newsDatetime\nA,b,2021-01-01\nHalf a li"))
    assert [item.error.reason for item in refused] == ["truncated"]


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_give_news_or_refusals_and_never_a_crash(data: bytes) -> None:
    from pricecast_news.archive import _csv, _json_lines

    for items in (_csv(io.BytesIO(b"title,newsDatetime\n" + data), "f"), _json_lines(io.BytesIO(data), "f")):
        assert items is not None
        assert all(isinstance(item, News | Refused) for item in items)
