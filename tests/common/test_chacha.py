"""The tensors' ChaCha20 is that of the RFC and of OpenSSL, on whatever device it runs."""

import os

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from fed_common.chacha import keystream

DEVICES = {torch.device("cpu"), torch.accelerator.current_accelerator(check_available=True)} - {None}


def stream(key: bytes, num_blocks: int, *, first_block: int, device: torch.device) -> bytes:
    words = keystream(key, num_blocks, first_block=first_block, device=device).cpu().numpy()
    return np.ascontiguousarray(words.T).astype("<i4").tobytes()


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_the_rfcs_zero_key_gives_its_keystream(device: torch.device) -> None:
    # RFC 8439, appendix A.1, test vectors 1 and 2.
    expected = """
        76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7
        da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586
        9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed
        29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f
    """
    assert stream(bytes(32), 2, first_block=0, device=device) == bytes.fromhex(expected)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("first_block", [0, 1, 77_000])
def test_openssl_gives_the_same(device: torch.device, first_block: int) -> None:
    key = os.urandom(32)
    nonce = first_block.to_bytes(4, "little") + bytes(12)
    expected = Cipher(algorithms.ChaCha20(key, nonce), mode=None).encryptor().update(bytes(64 * 1000))
    assert stream(key, 1000, first_block=first_block, device=device) == expected
