"""CLIP, SigLIP, Whisper and image-text-to-text models: tiny random checkpoints, saved in the real format."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.errors import Invalid
from ingest.questions import Evidence, Exhibit, Hit, Picture
from ingest.records import SAMPLE_RATE, Frame, Moment, Sound, Span, StreamId, Utterance

pytestmark = pytest.mark.slow
YARD = StreamId("yard")


def byte_tokenizer(folder: Path, special: dict[str, str], extra: tuple[str, ...] = ()) -> Any:
    """A byte-level BPE without merges, as `PreTrainedTokenizerFast` saves it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*dict.fromkeys(special.values()), *extra, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    ends = [(token, vocabulary[token]) for token in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)
    if extra:
        fast.add_special_tokens({"extra_special_tokens": list(extra)})
    fast.save_pretrained(folder)
    return fast


@pytest.fixture(scope="module", autouse=True)
def _reproducible() -> None:
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="module", params=["clip", "siglip"])
def two_towers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import (
        CLIPConfig,
        CLIPImageProcessorPil,
        CLIPModel,
        SiglipConfig,
        SiglipImageProcessorPil,
        SiglipModel,
    )

    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = byte_tokenizer(folder, {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"})
    text = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "vocab_size": len(tokenizer), "max_position_embeddings": 32, "eos_token_id": 1, "bos_token_id": 0,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 32, "patch_size": 8,
    }  # fmt: skip
    size = {"height": 32, "width": 32}
    if request.param == "clip":
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
        CLIPImageProcessorPil(size=size, crop_size=size).save_pretrained(folder)
    else:
        SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
        SiglipImageProcessorPil(size=size).save_pretrained(folder)
    return folder


def frame(pts: int, shade: int) -> Frame:
    pixels = np.full((40, 60, 3), shade, np.uint8)
    pixels[10:20, 10:30] = (200, 30, 30)
    return Frame(YARD, 0, pts, Moment(pts), pixels)


def test_two_towers_agree_with_the_library(two_towers: Path) -> None:
    """Our vectors against the model's own forward pass on the same inputs."""
    import torch
    from transformers import AutoModel, AutoTokenizer, CLIPImageProcessorPil, SiglipImageProcessorPil

    from models.encoders.clip import ClipEncoder

    encoder = ClipEncoder(two_towers)
    given = [frame(0, 40), frame(500_000, 120), frame(900_000, 220)]
    features = encoder.encode(given)
    queries = encoder.encode_queries(["a red car", "night"])
    model = AutoModel.from_pretrained(two_towers).eval()
    siglip = model.config.model_type == "siglip"
    processor = (SiglipImageProcessorPil if siglip else CLIPImageProcessorPil).from_pretrained(two_towers)
    pictures = processor(images=[one.pixels for one in given], return_tensors="pt")
    text = AutoTokenizer.from_pretrained(two_towers)(
        ["a red car", "night"],
        padding="max_length" if siglip else "longest",
        max_length=32 if siglip else None,
        return_tensors="pt",
    )
    with torch.inference_mode():
        whole = model(pixel_values=pictures.pixel_values, **text)
    scores = np.stack([one.vector for one in features]) @ np.stack([query.vector for query in queries]).T
    expected = (whole.image_embeds @ whole.text_embeds.T).numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    if siglip:
        chances = np.stack([query.probability(column) for query, column in zip(queries, scores.T, strict=True)], axis=1)
        np.testing.assert_allclose(chances, torch.sigmoid(whole.logits_per_image).numpy(), atol=1e-5)
    assert all(one.vector.shape == (encoder.dim,) for one in features)
    np.testing.assert_allclose([np.linalg.norm(one.vector) for one in features], 1.0, atol=1e-5)


def test_two_towers_take_pictures_and_speech_too(two_towers: Path) -> None:
    from models.encoders.clip import ClipEncoder

    encoder = ClipEncoder(two_towers)
    (feature,) = encoder.encode([frame(0, 90)])
    (query,) = encoder.encode_queries([frame(0, 90).pixels])
    assert float(feature.vector @ query.vector) == pytest.approx(1.0, abs=1e-5)
    said = Utterance(YARD, 0, 1, Span(Moment(0), Moment(9)), "hello " * 60, 0.9)
    (spoken,) = encoder.encode_utterances([said])
    assert (spoken.origin, spoken.observations[0].kind) == ("sound", "heard")


WHISPER_EXTRA = (
    "<|startoftranscript|>", "<|en|>", "<|de|>", "<|transcribe|>", "<|translate|>", "<|notimestamps|>",
    *(f"<|{step / 50:.2f}|>" for step in range(1501)),
)  # fmt: skip


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import pre_tokenizers
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    folder = tmp_path_factory.mktemp("whisper")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*letters, "<|endoftext|>", *WHISPER_EXTRA])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = WhisperTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.add_special_tokens({"extra_special_tokens": list(WHISPER_EXTRA[:6])})
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    end = vocabulary["<|endoftext|>"]
    config = WhisperConfig(
        vocab_size=len(vocabulary), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_target_positions=64,
        decoder_start_token_id=vocabulary["<|startoftranscript|>"], eos_token_id=end,
        pad_token_id=end, bos_token_id=end,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    settings = model.generation_config = GenerationConfig(
        decoder_start_token_id=vocabulary["<|startoftranscript|>"], eos_token_id=end, pad_token_id=end, bos_token_id=end
    )
    settings.no_timestamps_token_id = vocabulary["<|notimestamps|>"]
    settings.lang_to_id = {name: vocabulary[name] for name in ("<|en|>", "<|de|>")}
    settings.task_to_id = {"transcribe": vocabulary["<|transcribe|>"], "translate": vocabulary["<|translate|>"]}
    settings.is_multilingual, settings.max_length = True, 40
    model.save_pretrained(folder)
    return folder


def test_whisper_loads_and_times_what_it_hears(whisper: Path) -> None:
    from models.speech import WhisperTranscriber

    transcriber = WhisperTranscriber(whisper)
    t = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20)) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t))
    silence = np.zeros(SAMPLE_RATE)
    samples = np.concatenate([silence, 0.2 * voice, silence]).astype(np.float32)
    sound = Sound(YARD, 1, 3_000_000, Moment(8_000_000), samples)
    for one in transcriber.transcribe([sound]):
        assert sound.span.start <= one.span.start < one.span.end <= sound.span.end
        assert one.pts - sound.pts == one.span.start - sound.span.start
        assert one.text
        assert 0.0 <= one.confidence <= 1.0
    assert transcriber.transcribe([Sound(YARD, 1, 0, Moment(0), silence.astype(np.float32))]) == []


def test_whisper_s_timestamps_place_what_it_says(whisper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tokens are given; decoding them, their times, the confidence and the language are the real ones."""
    import torch

    from models.speech import WhisperTranscriber

    transcriber = WhisperTranscriber(whisper, language="en")
    said = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|0.50|>", "h", "i", "<|1.50|>", "<|1.50|>", "y", "o"]
    names = [*said, "<|2.00|>", "<|endoftext|>"]
    tokens = torch.tensor([transcriber._processor.tokenizer.convert_tokens_to_ids(names)])
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(transcriber._model, "generate", lambda *_, **how: asked.append(how) or tokens)
    t = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20)) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t))
    first, second = transcriber.transcribe([Sound(YARD, 1, 0, Moment(8_000_000), (0.2 * voice).astype(np.float32))])[:2]
    assert (first.text, second.text) == ("hi", "yo")
    assert (first.span.duration, second.span.duration) == (1_000_000, 500_000)
    assert second.span.start == first.span.end
    assert 8_500_000 <= first.span.start <= 9_500_000
    assert 0.0 < first.confidence < 1.0
    assert (first.language, asked[0]["language"], asked[0]["return_timestamps"]) == ("en", "en", True)


def test_whisper_places_what_is_said_behind_the_border_of_its_window(
    whisper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stretch of a minute is heard in windows of 28 s: each one's times count from where it begins, and none is past
    its end."""
    import torch

    from models import speech

    transcriber = speech.WhisperTranscriber(whisper, language="en")
    names = [
        "<|startoftranscript|>",
        "<|en|>",
        "<|transcribe|>",
        "<|0.50|>",
        "h",
        "i",
        "<|1.50|>",
        "<|1.50|>",
        "y",
        "o",
    ]
    tokens = torch.tensor([transcriber._processor.tokenizer.convert_tokens_to_ids([*names, "<|28.00|>"])])
    heard: list[int] = []

    def generate(features: object, attention_mask: torch.Tensor, **_: object) -> torch.Tensor:
        heard.append(int(attention_mask.sum()))
        return tokens

    minute = speech.Voiced(2_000_000, np.full(60 * SAMPLE_RATE, 3000, np.int16))
    monkeypatch.setattr(transcriber._model, "generate", generate)
    monkeypatch.setattr(speech, "voiced", lambda _: iter([minute]))
    samples = np.zeros(64 * SAMPLE_RATE, np.float32)
    found = transcriber.transcribe([Sound(YARD, 0, 7_000_000, Moment(100_000_000), samples)])
    assert heard == [2800, 2800, 400]  # hundredths of a second
    begins = [102_000_000, 130_000_000, 158_000_000]
    assert [one.span.start for one in found if one.text == "hi"] == [begin + 500_000 for begin in begins]
    assert [one.span.end for one in found if one.text == "yo"] == [130_000_000, 158_000_000, 162_000_000]
    assert all(one.pts == 7_000_000 + one.span.start - 100_000_000 for one in found)


def spoken() -> Sound:
    t = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20)) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t))
    return Sound(YARD, 1, 0, Moment(8_000_000), (0.2 * voice).astype(np.float32))


@pytest.mark.parametrize("language", ["en", "de"])
def test_whisper_tells_the_language_that_it_detects(
    whisper: Path, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    """Weights that make one language's token likelier are all that differs; detecting and writing are the real ones."""
    import torch

    from models.speech import WhisperTranscriber

    transcriber = WhisperTranscriber(whisper)
    model, ids = transcriber._model, transcriber._processor.tokenizer.convert_tokens_to_ids
    forward = model.forward

    def biased(*given: object, **named: object) -> object:
        out = forward(*given, **named)
        out.logits[..., ids(f"<|{language}|>")] += 1000.0 * (out.logits.shape[1] == 1)
        return out

    names = ["<|startoftranscript|>", f"<|{language}|>", "<|transcribe|>", "<|0.50|>", "h", "o", "<|1.50|>"]
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(model, "forward", biased)
    monkeypatch.setattr(model, "generate", lambda *_, **how: asked.append(how) or torch.tensor([ids(names)]))
    said = transcriber.transcribe([spoken()])
    assert {one.language for one in said} == {language}
    assert asked[0]["language"] == language


def test_whisper_takes_all_speech_for_the_language_it_is_told(whisper: Path) -> None:
    from models.speech import WhisperTranscriber

    transcriber = WhisperTranscriber(whisper, language="de")
    assert {one.language for one in transcriber.transcribe([spoken()])} <= {"de"}
    with pytest.raises(Invalid, match=r"does not understand the language 'fr'.*de, en"):
        WhisperTranscriber(whisper, language="fr")


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaVA: what `AutoModelForImageTextToText` loads."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    folder = tmp_path_factory.mktemp("llava")
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    tokenizer = byte_tokenizer(folder, special, ("<image>",))
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=8192, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.convert_tokens_to_ids("<image>")
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    size = {"height": 28, "width": 28}
    template = (
        "{% for m in messages %}{% for c in m.content %}{% if c.type == 'image' %}<image>{% else %}{{ c.text }}"
        "{% endif %}{% endfor %}{% endfor %}{% if add_generation_prompt %} ANSWER:{% endif %}"
    )
    LlavaProcessor(
        CLIPImageProcessorPil(size=size, crop_size=size), tokenizer, patch_size=14,
        vision_feature_select_strategy="default", chat_template=template, num_additional_image_tokens=1,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def evidence(pictures: int) -> Evidence:
    from PIL import Image

    def jpeg(shade: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (40, 30), (shade, 60, 90)).save(buffer, "JPEG")
        return buffer.getvalue()

    hit = Hit(YARD, Span(Moment(0), Moment(4_000_000)), 0.9, Moment(0))
    shown = tuple(Picture(Moment(index * 1_000_000), jpeg(40 * index)) for index in range(pictures))
    return Evidence((Exhibit(1, hit, shown),), origins=((YARD, Moment(0)),))


@pytest.mark.parametrize("pictures", [0, 2])
def test_an_image_text_model_streams_its_answer(seeing: Path, pictures: int) -> None:
    from models.language.transformers_local import TransformersSystem

    system = TransformersSystem(seeing, longest=12)
    once = list(system.answer("What moves?", evidence(pictures)))
    assert once == list(system.answer("What moves?", evidence(pictures)))
    assert "".join(once)


def test_it_equals_plain_generation(seeing: Path) -> None:
    import torch

    from models.language.prompt import build_prompt
    from models.language.transformers_local import TransformersSystem

    system = TransformersSystem(seeing, longest=12)
    inputs = system._inputs(build_prompt("What moves?", evidence(2), most_pictures=8))
    with torch.inference_mode():
        whole = system._model.generate(**inputs, max_new_tokens=12, do_sample=False)
    said = system._processor.tokenizer.decode(whole[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert "".join(system.answer("What moves?", evidence(2))) == said


def test_an_abandoned_answer_stops_the_model(seeing: Path) -> None:
    from models.language.transformers_local import TransformersSystem

    system = TransformersSystem(seeing, longest=200)
    pieces = system.answer("What moves?", evidence(1))
    next(iter(pieces))
    pieces.close()  # type: ignore[attr-defined] # a generator, like every answer
    assert list(TransformersSystem(seeing, longest=3).answer("Again?", evidence(1))) is not None


@pytest.mark.parametrize("bits", ["int8", "nf4"])
def test_language_layers_in_few_bits(seeing: Path, bits: str) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed")
    from models.language.transformers_local import TransformersSystem

    system = TransformersSystem(seeing, longest=6, dtype=bits)
    kept = {name: str(weight.dtype) for name, weight in system._model.named_parameters()}
    few = {name for name, dtype in kept.items() if dtype in {"torch.int8", "torch.uint8"}}
    assert len(few) == 2 * 7  # seven matrices in each of two layers
    assert all(".layers." in name and "language_model" in name for name in few)
    assert "".join(system.answer("What is there?", evidence(2)))


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    from models.encoders.clip import ClipEncoder

    with pytest.raises((OSError, ValueError)):
        ClipEncoder(tmp_path)
