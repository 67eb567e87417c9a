"""Files that somebody made to do harm, and pieces of such files: programs, bombs, boasts, other kinds in disguise."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tempfile
import zlib
from pathlib import Path

import h5py
import numpy as np

from fixtures.video.readers.container import MAX_PIXELS
from tests.fixtures.data.made_recordings import HARMS, OFFSET, harmed
from tests.fixtures.video.made_clips import Clip, write_clip

SIDE = int(MAX_PIXELS**0.5)
_PNG = b"\x89PNG\r\n\x1a\n"


class Runs:
    """Pickles as a call of anything."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _header(width: int, height: int, bits: int = 8, colour: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">II5B", width, height, bits, colour, 0, 0, 0))


PICKLES = (
    *(pickle.dumps(Runs(os.system, "true"), protocol) for protocol in (0, 2, 4)),
    b"cos\nsystem\n(S'true'\ntR",
    b"\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R",
    b"c__builtin__\neval\n",
    *(b"\x82\x01", b"\x83\xff\xff", b"Pname\n", b"r\xff\xff\xff\x7f", b"B\xff\xff\xff\xff"),
    b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f",
    *(b"I" + b"9" * 6000 + b"\n", b"(" * 3000, b"]" * 3000 + b"a" * 2999, b"cnumpy\nndarray\n", b"2" * 50_000),
    b"\x8a\xff" + b"\xff" * 255,
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }",
    b"{'descr': [('x', '<u2', (99999, 99999, 9999))], 'fortran_order': False, 'shape': (1,), }",
)
PNG_PIECES = (
    *(_header(width, height) for width, height in ((65535, 65535), (SIDE, SIDE), (0, 0))),
    chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 9)),
    chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8))),
    chunk(b"IDAT", zlib.compress(bytes(10**8), 9)),
    chunk(b"acTL", struct.pack(">II", 2**31, 0)),
)
MP4_PIECES = (
    b"stsz" + struct.pack(">III", 0, 1, 2**31),
    b"stsz" + struct.pack(">III", 0, 0, 2**32 - 1),
    b"stco" + struct.pack(">II", 0, 2**32 - 1),
    b"ctts" + struct.pack(">II", 0, 2**31),
    *(b"tkhd", b"free", b"moof", b"elst", b"alis", b"dref", b"cmov", b"sidx"),
    struct.pack(">I4s", 8, b"free") * 5000,
    struct.pack(">I4sQ", 1, b"mdat", 2**63),
    b"\0\0\0\x01g\x42\0\x1e" + b"\xff" * 40,
    *(b"\xff" * 64, bytes(64)),
)
H5_PIECES = (
    *(b"TREE", b"SNOD", b"HEAP", b"GCOL", b"OHDR", b"OCHK", b"FRHP", b"BTHD", b"FSHD", b"\x89HDF\r\n\x1a\n"),
    *(bytes((kind, 0, 24, 0, 0, 0, 0, 0)) for kind in (0x01, 0x03, 0x05, 0x08, 0x0B, 0x0C, 0x10, 0x11, 0x15)),
    *((32001).to_bytes(2, "little"), (32015).to_bytes(2, "little"), (1).to_bytes(2, "little")),
    *(b"\x02\x01\x21\x08" + (2**31 - 1).to_bytes(4, "little") * 3, bytes(64), b"\xff" * 64),
)
HEADERS = (
    (2**63 - 1).to_bytes(8, "little"), (2**64 - 1).to_bytes(8, "little"), (10**8).to_bytes(8, "little"), bytes(8),
    b'"shape":[1099511627776]', b'"shape":[4294967296,4294967296]', b'"data_offsets":[0,18446744073709551615]',
    b'"data_offsets":[8,0]', b'"dtype":"F64"', b'"dtype":"X"', b"[" * 5000, b"{" * 200,
)  # fmt: skip
TOML_PIECES = (
    *(b"[" * 5000, b"a = " + b"[" * 5000 + b"]" * 5000 + b"\n", b"a." * 5000 + b"b = 1\n", b"x = {" * 1000),
    *(b"x = nan\n", b"x = inf\n", b"x = 1e999\n", b"x = -1\n", b"x = 1979-05-27T07:32:00Z\n", b"\0", b"\xff\xfe"),
    *(b"x = " + b"9" * 5000 + b"\n", b"x = 0x" + b"f" * 5000 + b"\n", b'"\\u0000" = 1\n', b'x = "\\ud800"\n'),
    *(b"[[tiny.eager]]\n", b"[tiny.eager]\n"),
)


def event_files() -> list[bytes]:
    """Programs; names, numbers and nests that take no end; the largest pictures that there may be."""
    nest = b")" + b"2\x86" * 60  # pairs of pairs: in the file two bytes each, looked into 2^60 of them
    few = np.arange(50, dtype=np.uint16)
    sound = {"x": few, "y": few, "t": few, "p": few}
    contents = (
        {"x": Runs(os.system, "true")},
        sound | {"x": np.full(50, 4095, np.uint16), "y": np.full(50, 4095, np.uint16)},
        sound | {"x": few.astype(np.float64) * np.nan},
        sound | {"x": few.reshape(5, 10)},
        dict.fromkeys(map(str, range(20_000)), few),
        [few] * 50_000,
    )
    return [_saved(content) for content in contents] + [
        *map(
            _saved_pickle,
            (
                b"\x80\x02}" + nest + b"Ns.",
                b"\x80\x02}(" + nest + b"Nu.",
                b"\x80\x02(" + nest + b"Nd.",
                b"\x80\x04\x8f(" + nest + b"\x90.",
                b"\x80\x04(" + nest + b"\x91.",
                b"\x80\x02}X\1\0\0\0x" + nest + b"s.",
                b"\x80\x02c_codecs\nencode\nX\1\0\0\0x" + nest + b"\x86R.",
                b"\x80\x02cnumpy\ndtype\n" + nest + b"\x85R.",
                b"\x80\x02cnumpy\ndtype\nX\2\0\0\0u2\x85R(N" + nest + b"tb.",
                b"\x80\x02" + nest + nest + b"R.",
            ),
        ),
        _saved_pickle(b"\x80\x02" + b"N" * 3_000_000 + b"."),
        _saved_pickle(b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."),
    ]


def _saved(content: object) -> bytes:
    wrapped = np.empty((), dtype=object)
    wrapped[()] = content
    return _saved_pickle(pickle.dumps(wrapped, protocol=4))


def _saved_pickle(pickled: bytes) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    return stream.getvalue() + pickled


def archives() -> list[bytes]:
    """Much out of little, objects, very many names, and announced sizes."""
    zeros, few = np.zeros(10**8, np.uint8), np.zeros(50, np.uint8)
    contents = (
        dict.fromkeys("xyt", zeros) | {"p": zeros + 2},
        dict.fromkeys("xytp", few) | {"p": np.array([Runs(os.system, "true")] * 50, dtype=object)},
        {"events": np.array([Runs(os.system, "true")], dtype=object)},
        dict.fromkeys(map(str, range(2_000)), few),
    )
    made = []
    for content in contents:
        stream = io.BytesIO()
        np.savez_compressed(stream, **content)
        made.append(stream.getvalue())
    entry = made[1].index(b"PK\1\2") + 24  # the size of the first member, in the directory
    return [*made, made[1][:entry] + b"\xff\xff\xff\x7f" + made[1][entry + 4 :]]


def recordings() -> list[bytes]:
    """Links to other files, numbers in other files, announced sizes, and contradictions."""
    with tempfile.TemporaryDirectory() as folder:
        made = [harmed(Path(folder) / "e.h5", harm).read_bytes() for _, harm in HARMS.values()]
        path = Path(folder) / "bomb.h5"
        with h5py.File(path, "w") as file:
            for name in "xytp":
                zeros = np.zeros(2**24, np.uint16)  # small as a file, and what is announced is there
                file.create_dataset(f"events/{name}", data=zeros, chunks=(2**24,), compression="gzip")
            file["ms_to_idx"], file["t_offset"] = np.zeros(1, np.uint64), OFFSET
        return [*made, path.read_bytes()]


def pictures() -> list[bytes]:
    """Bombs at and beyond the limit, and files that are no PNG."""
    lines = zlib.compress(bytes((1 + 3 * SIDE) * SIDE), 9)
    deep = zlib.compress(bytes((1 + 8 * SIDE) * SIDE), 9)
    end = chunk(b"IEND", b"")
    return [
        _PNG + _header(SIDE, SIDE) + chunk(b"IDAT", lines) + end,
        _PNG + _header(SIDE, SIDE, 16, 6) + chunk(b"IDAT", deep) + end,
        _PNG + _header(SIDE + 1, SIDE) + chunk(b"IDAT", lines) + end,
        _PNG + _header(65535, 65535) + chunk(b"IDAT", lines) + end,
        *(_PNG + _header(64, 48) + piece + chunk(b"IDAT", lines) + end for piece in PNG_PIECES),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(/etc/passwd) (r) file\n",
        b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02",
        b"P6 60000 60000 255\n" + bytes(100),
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 10**9, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
        b"II*\0\x08\0\0\0" + b"\xff" * 64,
        b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        b"\xff\xd8\xff\xe0" + bytes(40),
        b"/* XPM */\nstatic char",
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    ]


def clips() -> list[bytes]:
    """The largest pictures that there may be and larger ones, lists of other files, and very many boxes."""
    box = struct.pack(">I4s", 8, b"free")
    return [
        *map(_large_clip, (SIDE, 2 * SIDE)),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
        b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>file:///etc/passwd</BaseURL></MPD>",
        b"YUV4MPEG2 W65535 H65535 F25:1 C420\nFRAME\n",
        b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrlavih",
        b"\x1aE\xdf\xa3\xff" + b"\xff" * 100,
        struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + box * 200_000,
    ]


def _large_clip(side: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        options = (("preset", "ultrafast"), ("crf", "51"))
        return write_clip(Path(folder) / "c.mp4", Clip(frames=4, width=side, height=side, options=options)).read_bytes()
