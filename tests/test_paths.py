"""Where runs are read from, and where caches are written."""

from clipknight.paths import caches, caches_in, existing, outputs


def test_caches_lie_among_the_outputs_unless_they_have_a_place_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setenv("CLIPKNIGHT_OUTPUTS", str(tmp_path / "runs"))
    monkeypatch.delenv("CLIPKNIGHT_CACHE", raising=False)
    assert caches() == outputs() == tmp_path / "runs"
    with caches_in(tmp_path / "here"):
        assert (caches(), outputs()) == (tmp_path / "here", tmp_path / "runs")
    assert caches() == tmp_path / "runs"
    monkeypatch.setenv("CLIPKNIGHT_CACHE", str(tmp_path / "cache"))
    with caches_in(tmp_path / "here"):
        pass
    assert caches() == tmp_path / "cache"


def test_outputs_are_found_by_that_name_wherever_they_are(monkeypatch, tmp_path):
    monkeypatch.setenv("CLIPKNIGHT_OUTPUTS", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere" / "clip").mkdir(parents=True)
    assert existing("outputs/clip") == existing("clip") == tmp_path / "elsewhere" / "clip"
    assert str(existing("outputs/none")) == "outputs/none"
