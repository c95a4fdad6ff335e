from pathlib import Path

import pytest

from scelle.errors import RequestWrong
from scelle.productions.withheld import read_withhold_list


def written(folder: Path, text: str) -> Path:
    path = folder / "withheld.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def test_a_list_is_read(tmp_path: Path) -> None:
    text = 'native_id,what,code\r\n"a,""b"".txt",record,privilege\r\nc.txt,content,abuse-material\r\n\r\n'
    listed = read_withhold_list(written(tmp_path, text))
    assert listed.natives == {'a,"b".txt': "privilege"}
    assert listed.contents == {"c.txt": "abuse-material"}
    assert listed.places == {}


def test_no_list_withholds_nothing() -> None:
    assert read_withhold_list(None).unmet() == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "first line"),
        ("native_id,code\na,b\n", "first line"),
        ("native_id,what,code\na.txt,record\n", "line 2"),
        ("native_id,what,code\na.txt,record,x\nb.txt,field,x\n", "line 3"),
        ("native_id,what,code\na.txt,record,Not A Code\n", "no code"),
        ("native_id,what,code\n\udcff,record,x\n", "cannot be read"),
        ('native_id,what,code\n"a.txt,record,x\n', "cannot be read"),
    ],
)
def test_a_list_that_is_not_one_is_refused(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(RequestWrong, match=why):
        read_withhold_list(written(tmp_path, text))


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestWrong, match="no such file"):
        read_withhold_list(tmp_path / "none.csv")
