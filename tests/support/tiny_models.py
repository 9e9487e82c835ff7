"""Models of the real formats, small enough to be made by a test: their weights are drawn at random, they say nonsense.

What they are for: the libraries that read such folders do so here as they will with a real model.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

_SPECIALS = ("<|endoftext|>", "<|startoftranscript|>")
_TASKS = ("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")


def _layer_norm(spec: Any, size: int) -> None:
    spec.gamma, spec.beta = np.ones(size, np.float32), np.zeros(size, np.float32)


def _linear(spec: Any, random: np.random.Generator, out: int, size: int, bias: bool = True) -> None:
    spec.weight = random.normal(0, 0.05, (out, size)).astype(np.float32)
    if bias:
        spec.bias = np.zeros(out, np.float32)


def _attention(spec: Any, random: np.random.Generator, size: int, *, own: bool) -> None:
    _layer_norm(spec.layer_norm, size)
    parts = (3 * size, size) if own else (size, 2 * size, size)
    for linear, out in zip(spec.linear, parts, strict=True):
        _linear(linear, random, out, size)


def _layers(spec: Any, random: np.random.Generator, size: int) -> None:
    for layer in spec.layer:
        _attention(layer.self_attention, random, size, own=True)
        if hasattr(layer, "attention"):
            _attention(layer.attention, random, size, own=False)
        _layer_norm(layer.ffn.layer_norm, size)
        _linear(layer.ffn.linear_0, random, 4 * size, size)
        _linear(layer.ffn.linear_1, random, size, 4 * size)
    if hasattr(spec, "layer_norm"):
        _layer_norm(spec.layer_norm, size)


def argos_package(folder: Path, source: str, target: str) -> Path:
    """An unpacked package of Argos Translate."""
    import ctranslate2
    import sentencepiece

    package = folder / f"translate-{source}_{target}-1_0"
    (package / "model").mkdir(parents=True)
    (package / "metadata.json").write_text(json.dumps({"from_code": source, "to_code": target}))
    lines = iter(f"good morning to you number {n} and hello again my friend" for n in range(60))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines, model_prefix=str(package / "sentencepiece"), vocab_size=36, minloglevel=2
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(package / "sentencepiece.model"))
    words = [pieces.id_to_piece(place) for place in range(pieces.get_piece_size())]
    random, size = np.random.default_rng(1), 16
    spec = ctranslate2.specs.TransformerSpec.from_config(1, 2)
    for part in (spec.encoder, spec.decoder):
        embeddings = part.embeddings[0] if isinstance(part.embeddings, list) else part.embeddings
        embeddings.weight = random.normal(0, 0.05, (len(words), size)).astype(np.float32)
        part.position_encodings.encodings = random.normal(0, 0.05, (512, size)).astype(np.float32)
        part.scale_embeddings = True
        _layers(part, random, size)
    _linear(spec.decoder.projection, random, len(words), size)
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = "<unk>", "<s>", "</s>"
    spec.validate()
    spec.save(str(package / "model"))
    return package


def whisper_model(folder: Path) -> Path:
    """A Whisper model for CTranslate2, multilingual, with a vocabulary of made-up words."""
    import ctranslate2
    import tokenizers
    from faster_whisper.tokenizer import _LANGUAGE_CODES

    folder.mkdir(parents=True)
    codes = [f"<|{code}|>" for code in _LANGUAGE_CODES]
    times = [f"<|{n * 0.02:.2f}|>" for n in range(1501)]
    specials = [*_SPECIALS, *codes, *_TASKS, *times]
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"Ġw{n}" for n in range(51_866 - len(specials) - len(letters)))]
    vocabulary = [*words, *specials]
    tokens = tokenizers.Tokenizer(tokenizers.models.BPE({word: n for n, word in enumerate(words)}, []))
    tokens.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = tokenizers.decoders.ByteLevel()
    tokens.add_special_tokens(specials)
    tokens.save(str(folder / "tokenizer.json"))
    random, size = np.random.default_rng(2), 16
    spec = ctranslate2.specs.WhisperSpec(1, 2, 1, 2)
    _linear(spec.encoder.conv1, random, size, 80)
    spec.encoder.conv1.weight = random.normal(0, 0.05, (size, 80, 3)).astype(np.float32)
    spec.encoder.conv2.weight = random.normal(0, 0.05, (size, size, 3)).astype(np.float32)
    spec.encoder.conv2.bias = np.zeros(size, np.float32)
    spec.encoder.position_encodings.encodings = random.normal(0, 0.05, (1500, size)).astype(np.float32)
    spec.decoder.position_encodings.encodings = random.normal(0, 0.05, (448, size)).astype(np.float32)
    spec.decoder.embeddings.weight = random.normal(0, 0.05, (len(vocabulary), size)).astype(np.float32)
    spec.decoder.scale_embeddings = False
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    _layers(spec.encoder, random, size)
    _layers(spec.decoder, random, size)
    spec.register_vocabulary(vocabulary)
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.config.lang_ids = [vocabulary.index(code) for code in codes]
    spec.config.alignment_heads = [(0, 0)]
    spec.validate()
    spec.save(str(folder))
    return folder


# ---- a voice: an ONNX graph, written octet by octet, for want of a library needed for nothing else ---------------


def _field(number: int, value: bytes | int | str) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    octets = bytearray()
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    return bytes([*octets, value])


def _tensor_type(name: str, kind: int, shape: tuple[int | str, ...]) -> bytes:
    dims = b"".join(_field(1, _field(1, d) if isinstance(d, int) else _field(2, d)) for d in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, kind) + _field(2, dims)))


def _node(kind: str, inputs: list[str], output: str, attributes: bytes = b"") -> bytes:
    return _field(1, b"".join(_field(1, one) for one in inputs) + _field(2, output) + _field(4, kind) + attributes)


def piper_voice(folder: Path, name: str = "es_MX-tiny-low", code: str = "es_MX", prepared: str = "espeak") -> Path:
    """A voice of piper: 160 samples of a tone for each phoneme, louder and softer as the phoneme's number has it."""
    folder.mkdir(parents=True, exist_ok=True)
    integers, floats = 7, 1  # TensorProto.DataType
    to_float = _field(5, _field(1, "to") + _field(3, floats) + _field(20, 2))
    repeats = _field(1, 2) + _field(2, integers) + _field(8, "repeats") + _field(9, struct.pack("<2q", 1, 160))
    graph = (
        _node("Cast", ["input"], "numbers", to_float)
        + _node("Sin", ["numbers"], "wave")
        + _node("Tile", ["wave", "repeats"], "output")
        + _field(2, "tiny")
        + _field(5, repeats)
        + _field(11, _tensor_type("input", integers, (1, "n")))
        + _field(11, _tensor_type("input_lengths", integers, (1,)))
        + _field(11, _tensor_type("scales", floats, (3,)))
        + _field(12, _tensor_type("output", floats, (1, "m")))
    )
    model = _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))
    path = folder / f"{name}.onnx"
    path.write_bytes(model)
    letters = "_^$ abcdefghijklmnopqrstuvwxyzˈˌːɔðθɾβɣʃʎɲɡŋ.,!?"
    about: dict[str, Any] = {
        "audio": {"sample_rate": 16_000},
        "espeak": {"voice": code.partition("_")[0]},
        "inference": {"noise_scale": 0.6, "length_scale": 1.0, "noise_w": 0.8},
        "phoneme_type": prepared,
        "num_symbols": len(letters),
        "num_speakers": 1,
        "phoneme_id_map": {letter: [place] for place, letter in enumerate(letters)},
    }
    if code:
        about["language"] = {"code": code}
    path.with_name(path.name + ".json").write_text(json.dumps(about), encoding="utf-8")
    return path
