"""Writes a tiny random llama model as GGUF: a few hundred kilobytes that know nothing, but speak.

What it says is noise, so whatever comes out well-formed was made so by the server's constraints. One constant dimension
of the embedding favours quotes and closing brackets, so that strings and objects come to an end.

usage: tiny_model.py OUTPUT.gguf
"""

import sys

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 64, 1, 4, 128, 16384
SPECIAL = ["<unk>", "<s>", "</s>"]
LETTERS = ["\u2581"] + [chr(code) for code in range(33, 127)]
FAVOURED = {'"': 3.0, "}": 2.0, "]": 2.0, "</s>": 1.0}


def vocabulary():
    """Texts, scores and kinds: special tokens, all bytes, and printable characters."""
    kind = gguf.TokenType
    tokens = [(text, 0.0, kind.UNKNOWN if text == "<unk>" else kind.CONTROL) for text in SPECIAL]
    tokens += [(f"<0x{byte:02X}>", 0.0, kind.BYTE) for byte in range(256)]
    tokens += [(text, -1.0, kind.NORMAL) for text in LETTERS]
    return tokens


def main(path):
    random = np.random.default_rng(7)
    tokens = vocabulary()
    texts = [text for text, _, _ in tokens]

    def noise(*shape):
        return (random.standard_normal(shape) * 0.05).astype(np.float32)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny random model")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(texts)
    writer.add_token_scores([score for _, score, _ in tokens])
    writer.add_token_types([int(kind) for _, _, kind in tokens])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)

    embedding = noise(len(tokens), WIDTH)
    embedding[:, 0] = 1.0
    output = noise(len(tokens), WIDTH)
    for text, favour in FAVOURED.items():
        output[texts.index(text), 0] = favour * 0.2
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, dtype=np.float32))
    writer.add_tensor("output.weight", output)
    for layer in range(LAYERS):
        for name in ["attn_q", "attn_k", "attn_v", "attn_output"]:
            writer.add_tensor(f"blk.{layer}.{name}.weight", noise(WIDTH, WIDTH) * 0.1)
        for name, shape in [("ffn_gate", (INNER, WIDTH)), ("ffn_up", (INNER, WIDTH)), ("ffn_down", (WIDTH, INNER))]:
            writer.add_tensor(f"blk.{layer}.{name}.weight", noise(*shape) * 0.1)
        for name in ["attn_norm", "ffn_norm"]:
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
