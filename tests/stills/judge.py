"""Stills of every kind and flavour, made here, decoded by `edgelabel frame`, and compared with what Pillow (libjpeg-turbo,
libpng, libwebp, libtiff, Little CMS) makes of them. A still passes when its size is right and the mean difference per channel
is within its bound."""

import io
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy
from PIL import Image, ImageCms, ImageOps

WIDTH, HEIGHT = 323, 241
# Without loss only rounding differs; a JPEG's inverse transform and its interpolated colour may be computed in several ways.
LOSSLESS, LOSSY = 0.6, 2.0



def scene():
    """Gradients, edges and grain."""
    rows, columns = numpy.mgrid[0:HEIGHT, 0:WIDTH]
    picture = numpy.stack([columns * 255 // WIDTH, rows * 255 // HEIGHT, (rows + columns) % 256], -1)
    picture[60:120, 80:200] = [230, 40, 30]
    picture[150:200, 20:90] = [20, 60, 220]
    picture += numpy.random.default_rng(1).integers(-6, 7, picture.shape)
    return Image.fromarray(picture.clip(0, 255).astype(numpy.uint8))


def saved(picture, form, **options):
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def profile(name):
    """Matrix profiles as cameras and editors embed them: primaries as x, y, and a gamma."""
    points = {
        "p3": ([(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)], 2.2),
        "adobe": ([(0.640, 0.330), (0.210, 0.710), (0.150, 0.060)], 2.19921875),
    }
    primaries, gamma = points[name]
    white = numpy.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    columns = numpy.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    matrix = columns * numpy.linalg.solve(columns, white)
    # Profiles speak of the white of D50: Bradford's adaptation.
    bradford = numpy.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    d50 = numpy.array([0.9642, 1.0, 0.8249])
    adapted = numpy.linalg.inv(bradford) @ numpy.diag(bradford @ d50 / (bradford @ white)) @ bradford @ matrix

    def xyz(values):
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    def curve(gamma):
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"

    def text(words):
        return b"desc\0\0\0\0" + struct.pack(">I", len(words) + 1) + words + b"\0" + bytes(4 + 4 + 2 + 1 + 67) + b"\0"

    tags = [(b"desc", text(name.encode())), (b"cprt", b"text\0\0\0\0nobody\0\0"), (b"wtpt", xyz(d50))]
    tags += [(key, xyz(adapted[:, at])) for at, key in enumerate([b"rXYZ", b"gXYZ", b"bXYZ"])]
    tags += [(key, curve(gamma)) for key in [b"rTRC", b"gTRC", b"bTRC"]]
    return icc(b"RGB ", tags)


def grey_profile(gamma):
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    white = b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(value * 65536)) for value in (0.9642, 1.0, 0.8249))
    description = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(79)
    return icc(b"GRAY", [(b"desc", description), (b"cprt", b"text\0\0\0\0nobody\0\0"), (b"wtpt", white), (b"kTRC", curve)])


def icc(space, tags):
    table, data, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for key, body in tags:
        body += bytes(-len(body) % 4)
        table += key + struct.pack(">II", at + len(data), len(body))
        data += body
    d50 = struct.pack(">iii", 63190, 65536, 54061)
    header = struct.pack(">I4sI4s4s4s", at + len(data), b"\0\0\0\0", 0x02400000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp"
    header = header.ljust(68, b"\0") + d50
    return header.ljust(128, b"\0") + table + data


def png16(samples, kind, interlaced=False):
    """A PNG of sixteen bits: Pillow writes only grey ones. `kind` is PNG's colour type."""
    height, width = samples.shape[:2]

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)] if interlaced else [(0, 0, 1, 1)]
    rows = b""
    for left, top, across, down in passes:
        for row in samples[top::down, left::across]:
            rows += b"\0" + row.astype(">u2").tobytes() if row.size else b""
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(samples, photometric, tile=None):
    """A plain TIFF of 8 or 16 bits, in one strip or in tiles, which Pillow does not write."""
    height, width, channels = samples.shape
    bits = samples.dtype.itemsize * 8
    little = samples.astype(samples.dtype.newbyteorder("<"))
    if tile:
        padded = numpy.pad(little, ((0, -height % tile), (0, -width % tile), (0, 0)))
        pieces = [padded[y : y + tile, x : x + tile].tobytes() for y in range(0, height, tile) for x in range(0, width, tile)]
    else:
        pieces = [little.tobytes()]
    offsets, data, at = [], b"", 8
    for piece in pieces:
        offsets.append(at + len(data))
        data += piece
    entries, extra, where = [], b"", at + len(data)

    def entry(tag, kind, values):
        nonlocal extra
        size = {3: 2, 4: 4}[kind]
        packed = struct.pack("<" + {3: "H", 4: "I"}[kind] * len(values), *values)
        if size * len(values) > 4:
            packed, extra = struct.pack("<I", where + len(extra)), extra + packed + bytes(len(packed) % 2)
        entries.append(struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0"))

    entry(256, 4, [width])
    entry(257, 4, [height])
    entry(258, 3, [bits] * channels)
    entry(259, 3, [1])
    entry(262, 3, [photometric])
    if not tile:
        entry(273, 4, offsets)
    entry(277, 3, [channels])
    if tile:
        entry(322, 3, [tile])
        entry(323, 3, [tile])
        entry(324, 4, offsets)
        entry(325, 4, [len(piece) for piece in pieces])
    else:
        entry(278, 4, [height])
        entry(279, 4, [len(pieces[0])])
    entries.sort(key=lambda packed: struct.unpack("<H", packed[:2]))
    directory = where + len(extra)
    return b"II*\0" + struct.pack("<I", directory) + data + extra + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


def stills(picture):
    """Name, file, what it should show (None: what Pillow makes of the file), bound."""
    grey, ink = picture.convert("L"), picture.convert("CMYK")
    deep = numpy.asarray(picture).astype(numpy.uint16) * 257
    alpha = Image.fromarray((numpy.mgrid[0:HEIGHT, 0:WIDTH][1] * 255 // WIDTH).astype(numpy.uint8))
    see_through = picture.copy()
    see_through.putalpha(alpha)
    white = Image.new("RGBA", picture.size, "white")
    on_white = Image.alpha_composite(white, see_through).convert("RGB")
    grey_on_white = Image.alpha_composite(white, Image.merge("LA", [grey, alpha]).convert("RGBA")).convert("RGB")
    palette = picture.quantize(200)
    hole = palette.copy()
    index = hole.getpixel((100, 100))
    shown = palette.convert("RGB")
    shown_hole = Image.fromarray(numpy.where((numpy.asarray(palette) == index)[..., None], 255, numpy.asarray(shown)).astype(numpy.uint8))
    deep_alpha = numpy.dstack([deep, numpy.asarray(alpha).astype(numpy.uint16) * 257])

    yield "jpeg 4:2:0", saved(picture, "JPEG", quality=92), None, LOSSY
    yield "jpeg 4:4:4", saved(picture, "JPEG", quality=92, subsampling=0), None, LOSSY
    yield "jpeg 4:2:2", saved(picture, "JPEG", quality=92, subsampling=1), None, LOSSY
    yield "jpeg progressive", saved(picture, "JPEG", quality=92, progressive=True), None, LOSSY
    yield "jpeg grey", saved(grey, "JPEG", quality=92), None, LOSSY
    yield "jpeg rgb", saved(picture, "JPEG", quality=92, keep_rgb=True), None, LOSSY
    yield "jpeg cmyk", saved(ink, "JPEG", quality=92), None, LOSSY
    yield "jpeg restarts", saved(picture, "JPEG", quality=92, restart_marker_rows=1), None, LOSSY
    for name in ["p3", "adobe"]:
        yield f"jpeg {name}", saved(picture, "JPEG", quality=92, subsampling=0, icc_profile=profile(name)), None, LOSSY
        yield f"png {name}", saved(picture, "PNG", icc_profile=profile(name)), None, 1.0
    yield "jpeg srgb", saved(picture, "JPEG", quality=92, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), None, LOSSY
    yield "jpeg grey 1.8", saved(grey, "JPEG", quality=92, icc_profile=grey_profile(1.8)), None, LOSSY
    for turn in range(1, 9):
        yield f"jpeg exif {turn}", saved(picture, "JPEG", quality=92, subsampling=0, exif=exif(turn)), None, LOSSY
    yield "png exif 6", saved(picture, "PNG", exif=exif(6)), None, LOSSLESS
    yield "webp exif 8", saved(picture, "WEBP", lossless=True, exif=exif(8)), None, LOSSLESS
    yield "tiff exif 3", saved(picture, "TIFF", exif=exif(3)), None, LOSSLESS
    yield "png", saved(picture, "PNG"), None, LOSSLESS
    yield "png grey", saved(grey, "PNG"), None, LOSSLESS
    yield "png two colours", saved(grey.convert("1"), "PNG"), None, LOSSLESS
    yield "png palette", saved(palette, "PNG"), shown, LOSSLESS
    yield "png palette hole", saved(hole, "PNG", transparency=index), shown_hole, LOSSLESS
    yield "png alpha", saved(see_through, "PNG"), on_white, LOSSLESS
    yield "png grey alpha", saved(Image.merge("LA", [grey, alpha]), "PNG"), grey_on_white, LOSSLESS
    yield "png 16 bit", png16(deep, 2), picture, LOSSLESS
    yield "png 16 bit alpha", png16(deep_alpha, 6), on_white, LOSSLESS
    yield "png 16 bit grey", png16(deep[..., 0], 0), Image.merge("RGB", [picture.getchannel(0)] * 3), LOSSLESS
    yield "png interlaced", png16(deep, 2, interlaced=True), picture, LOSSLESS
    yield "webp", saved(picture, "WEBP", quality=90), None, LOSSY
    yield "webp lossless", saved(picture, "WEBP", lossless=True), None, LOSSLESS
    yield "webp alpha", saved(see_through, "WEBP", lossless=True, exact=True), on_white, LOSSLESS
    yield "webp moving", saved(picture, "WEBP", save_all=True, append_images=[ImageOps.invert(picture)], lossless=True), picture, LOSSLESS
    yield "gif", saved(palette, "GIF"), shown, LOSSLESS
    yield "gif moving", saved(palette, "GIF", save_all=True, append_images=[ImageOps.invert(shown).quantize(200)]), shown, LOSSLESS
    yield "bmp", saved(picture, "BMP"), None, LOSSLESS
    yield "bmp palette", saved(palette, "BMP"), shown, LOSSLESS
    for packing in ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]:
        yield f"tiff {packing}", saved(picture, "TIFF", compression=packing), None, LOSSLESS
    yield "tiff jpeg", saved(picture, "TIFF", compression="jpeg", quality=92), None, LOSSY
    yield "tiff grey", saved(grey, "TIFF"), None, LOSSLESS
    yield "tiff alpha", saved(see_through, "TIFF"), on_white, LOSSLESS
    yield "tiff cmyk", saved(ink, "TIFF"), None, LOSSLESS
    yield "tiff pages", saved(picture, "TIFF", save_all=True, append_images=[ImageOps.invert(picture)]), picture, LOSSLESS
    yield "tiff 16 bit", tiff(deep, 2), picture, LOSSLESS
    yield "tiff tiled", tiff(numpy.asarray(picture), 2, tile=64), picture, LOSSLESS
    yield "tiff tiled 16 bit", tiff(deep, 2, tile=64), picture, LOSSLESS
    yield "tiff cmyk 16 bit", tiff(numpy.asarray(ink).astype(numpy.uint16) * 257, 5), ink.convert("RGB"), LOSSLESS


def pillow(data):
    """What Pillow shows of a file: sRGB, upright."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    embedded = picture.info.get("icc_profile")
    if embedded and picture.mode in ("RGB", "L"):
        srgb = ImageCms.createProfile("sRGB")
        picture = ImageCms.profileToProfile(picture, io.BytesIO(embedded), srgb, outputMode="RGB")
    return ImageOps.exif_transpose(picture).convert("RGB")


def decoded(program, data, folder, output):
    source = folder / "still"
    source.write_bytes(data)
    command = [program, "frame", source, "--output", folder / output]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise ValueError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}")
    return Image.open(folder / output).convert("RGB")


def difference(seen, wanted):
    if seen.size != wanted.size:
        raise ValueError(f"{seen.size[0]}x{seen.size[1]} instead of {wanted.size[0]}x{wanted.size[1]}")
    return float(numpy.abs(numpy.asarray(seen).astype(int) - numpy.asarray(wanted).astype(int)).mean())


def photo():
    """12 megapixels with shapes and grain, as large as a camera's file."""
    rows, columns = numpy.mgrid[0:3000, 0:4000]
    base = numpy.stack([columns * 200 // 4000, rows * 200 // 3000, (rows + columns) % 200], -1).astype(numpy.uint8)
    return Image.fromarray(base + numpy.random.default_rng(7).integers(0, 24, base.shape, numpy.uint8))


def judge(name, bound, seen, wanted):
    try:
        apart = difference(seen(), wanted())
    except ValueError as wrong:
        print(f"FAILED {name}: {wrong}")
        return False
    good = apart <= bound
    print(f"{'' if good else 'FAILED '}{name:<20} {apart:6.2f} of {bound}")
    return good


def main():
    program = pathlib.Path(os.environ.get("EDGELABEL_BIN", "target/release/edgelabel")).resolve()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        os.environ["EDGELABEL__MEDIA__CACHE_DIR"] = str(folder / "cache")
        for name, data, shows, bound in stills(scene()):
            results.append(judge(name, bound, lambda: decoded(program, data, folder, "out.png"), lambda: shows or pillow(data)))
        # For a model: scaled down, and a JPEG again.
        large = photo()
        for name, options in [("12 megapixels", {}), ("12 progressive", {"progressive": True})]:
            data = saved(large, "JPEG", quality=90, **options)
            small = lambda: pillow(data).resize((1536, 1152), Image.Resampling.BICUBIC)  # noqa: E731
            results.append(judge(name, 4.0, lambda: decoded(program, data, folder, "out.jpg"), small))
    print(f"stills: {sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(0 if results and all(results) else 1)


main()
