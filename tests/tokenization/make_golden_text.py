"""Write ``golden.json``: what transformers 4.57.6 makes of some texts, for CI, which does not have it.

Run by ``nox -s transformers -- golden`` or by hand in an environment with transformers 4.57.6, spaCy and ftfy.
"""

import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from text_data import VOCABULARY, edge_cases, paragraphs, random_texts

GOLDEN = Path(__file__).with_name("golden.json")
MODES = ("basic", "original")

WRITTEN = [
    "The quick brown fox jumps over the lazy dog.",
    "Don't you think it's late? I'll go; they've gone, we're here, he'd stay, she'll wait.",
    '"Well," said Mr. O\'Neil (of the U.S.), "that costs $3.50 - or 1,000!"',
    "'Twas the night before Christmas, 'cause the boys' toys weren't in o'clock order.",
    "First line.\nSecond line.\n\n\n   Third, after blanks.\r\nFourth.\rFifth.\u2028Sixth.\u2029Seventh.\x85Eighth.",
    "   leading and trailing   \n",
    "\u201cCurly\u201d \u2018quotes\u2019 \u2014 and dashes \u2013 and an ellipsis\u2026 and \u00b4 acute",
    "na\u00efve caf\u00e9 fa\u00e7ade Se\u00f1or \u00dcber Stra\u00dfe \u0130stanbul \u039f\u0394\u039f\u03a3",
    "cafe\u0301 decomposed, e\u0301\u0301 twice",
    "mojibake: caf\u00c3\u00a9 \u00e2\u20ac\u0153quoted\u00e2\u20ac\u009d \u00c3\u0192\u00c2\u00a9",
    "entities: &amp; &lt;b&gt; &eacute; &#38; &amp;amp;",
    "<b>&amp; stays</b>",
    "ligatures: \ufb01ne \ufb02ow, full width: \uff21\uff22\uff23\uff01",
    "https://example.com/a?b=c&d=e#f user@example.org www.example.co.uk ftp://x.y:80/",
    "e.g. i.e. a.m. p.m. U.K. Ph.D. No. 5, 10am 3pm 5km 20% 1/2 3.14 1,234,567",
    ":) :-( <3 >.< o_o ^_^ :'( xD =3 ''em '' ' ''tis",
    'if (x[0] == y && z != "w") { return a->b; } // 100% #hashtag @user $HOME ~/tmp',
    "\u4e2d\u6587\u5b57 \u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4 \u0420\u0443\u0441\u0441\u043a\u0438\u0439 "
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0939\u093f\u0928\u094d\u0926\u0940",
    "emoji \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u2764\ufe0f",
    "control\x00char\x01s \x1b[31mred\x1b[0m tab\there \x7f soft\xadhyphen zero\u200bwidth bom\ufeff",
    "lone \ud800 surrogate \udfff and \ufffd",
    "<unk> <UNK> a<unk>b",
    "",
    " ",
    "\n\n",
    "!!!???...---___***((()))",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "a" * 300,
]


def texts():
    return WRITTEN + list(random_texts(300, seed=42))


def large_texts():
    """Name -> texts of the data, of which only a digest is kept."""
    return {
        "edge cases": edge_cases(),
        "held-out books": paragraphs("heldout", 1500),
        "training books": paragraphs("train", 1500),
    }


def digest(rows):
    """One number for ids, tokens and text of many texts."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def row(tokenizer, text):
    """Ids, tokens and decoded text."""
    ids = tokenizer(text)["input_ids"]
    return [ids, tokenizer.tokenize(text), tokenizer.decode(ids)]


def main():
    import pytest
    import transformers

    assert transformers.__version__ == "4.57.6"
    transformers.logging.set_verbosity_error()
    files = str(VOCABULARY / "vocab.json"), str(VOCABULARY / "merges.txt")
    with pytest.MonkeyPatch.context() as hidden:
        hidden.setitem(sys.modules, "ftfy", None)
        basic = transformers.OpenAIGPTTokenizer(*files)
    tokenizers = {"basic": basic, "original": transformers.OpenAIGPTTokenizer(*files)}
    assert tokenizers["original"].fix_text is not None
    golden = {
        "texts": [{"text": text, **{mode: row(tokenizers[mode], text) for mode in MODES}} for text in texts()],
        "digests": {
            name: {mode: digest([row(tokenizers[mode], text) for text in rows]) for mode in MODES}
            for name, rows in large_texts().items()
        },
    }
    lines = ",\n".join(json.dumps(item) for item in golden["texts"])
    GOLDEN.write_text(f'{{"digests": {json.dumps(golden["digests"], indent=1)},\n"texts": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
