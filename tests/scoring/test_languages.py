from clipknight.scoring.languages import warning_for

import pytest

UNSPACED = ["一只黑色的狗在草地上奔跑", "一只狗", "犬がいる", "สุนัขกำลังวิ่งบนสนามหญ้า", "𠮷野家の丼", "ｲﾇｶﾞｲﾙ"]


@pytest.mark.parametrize("captions", [["a dog"], ["né à Köln, naïve"], [], ["123"], ["a dog"] * 99 + ["犬がいる"]])
def test_what_the_metrics_know_gives_no_warning(captions):
    assert warning_for(captions) is None


@pytest.mark.parametrize(
    "caption", "一只黑色的狗在草地上奔跑 一只狗 犬がいる สุนัขกำลังวิ่งบนสนามหญ้า 𠮷野家の丼 ｲﾇｶﾞｲﾙ".split()
)
def test_captions_without_spaces_are_told_how_to_be_scored_by_character(caption):
    warning = warning_for([caption] * 4 + ["a dog"])
    assert "4 of 5 captions have no spaces" in warning and "a space after each character of both files" in warning
    assert "English alone" in warning and len(warning) < 500
    assert "have no spaces" not in warning_for([" ".join(caption)] * 4)  # the advice, followed


@pytest.mark.parametrize("caption", ["собака бежит", "كلب يركض", "कुत्ता दौड़ता है", "개가 달린다", "一只 黑色 的 狗"])
def test_captions_in_other_letters_are_told_of_english_rules(caption):
    assert "2 of 2 captions are not in Latin letters" in warning_for([caption] * 2)
