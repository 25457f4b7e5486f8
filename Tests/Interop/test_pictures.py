"""Pictures: what is read of a file, against Pillow; what a tower sees of it, against the processors of transformers."""

import base64
import json
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.heavy
Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")


def scene(width, height, seed=0):
    """Smooth colours, an edge and some noise."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 / max(1, width - 1), y * 255 / max(1, height - 1), 127 + 127 * np.sin(x / 3 + y / 5)], -1)
    pixels[height // 3:height // 2, width // 4:width // 2] = (250, 20, 60)
    return np.clip(pixels + random.randint(-20, 20, pixels.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def read(probe, tmp_path):
    """What the program makes of files by the settings of a processor."""

    def run(files, settings=None):
        config = tmp_path / "preprocessor_config.json"
        config.write_text(json.dumps(settings or {"image_processor_type": "SiglipImageProcessor", "do_resize": False}))
        replies = [json.loads(line) for line in probe("pictures", config, *files).splitlines()]
        for reply in replies:
            if "error" in reply:
                continue
            (width, height), (columns, rows) = reply["size"], reply["seen"]
            reply["pixels"] = np.frombuffer(base64.b64decode(reply["pixels"]), np.uint8).reshape(height, width, 3)
            reply["values"] = np.frombuffer(base64.b64decode(reply["values"]), "<f4").reshape(3, rows, columns)
        return replies

    return run


def png(pixels, is_interlaced=False):
    """A file of colours of 8 or 16 bits, as no program here writes it: Adam7's seven passes, or 16 bits."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b"".join(b"\0" + row.astype(pixels.dtype.newbyteorder(">")).tobytes()
                    for x, y, across, down in (passes if is_interlaced else [(0, 0, 1, 1)])
                    for row in pixels[y::down, x::across] if row.size > 0)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8 * pixels.itemsize, 2, 0, 0, int(is_interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def pillow(path):
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))


def test_files_have_the_pixels_that_pillow_finds(read, tmp_path):
    colours, files = Image.fromarray(scene(61, 43)), []

    def save(name, image, **options):
        files.append(tmp_path / name)
        image.save(files[-1], **options)

    alpha = colours.convert("RGBA")
    alpha.putalpha(Image.fromarray(scene(61, 43, 1)[..., 0]))
    save("rgb.png", colours)
    save("rgba.png", alpha)
    save("palette.png", colours.quantize(30))
    save("palette-few.png", colours.quantize(3), bits=2)
    save("transparent-colour.png", colours.quantize(8), transparency=2)
    for mode in ("L", "LA", "1"):
        save(f"{mode}.png", colours.convert(mode))
    files.append(tmp_path / "interlaced.png")
    files[-1].write_bytes(png(np.asarray(colours), is_interlaced=True))
    for name, options in {
            "444.jpg": dict(subsampling=0), "420.jpg": dict(subsampling=2), "422.jpg": dict(subsampling=1),
            "progressive.jpg": dict(progressive=True), "gray.jpg": {}, "cmyk.jpg": {}, "restart.jpg": dict(restart_marker_blocks=2)}.items():
        image = colours.convert({"gray.jpg": "L", "cmyk.jpg": "CMYK"}.get(name, "RGB"))
        save(name, image, quality=85, **options)
    save("lossless.webp", colours, lossless=True)
    save("lossy.webp", colours, quality=70)
    save("alpha.webp", alpha, quality=70)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        for format in ("jpg", "png", "webp"):
            save(f"turned-{orientation}.{format}", colours, exif=exif)
    for path, reply in zip(files, read(files)):
        expected = pillow(path)
        assert reply["pixels"].shape == expected.shape, path.name
        # Lossy files may be decoded by another version of the same library.
        tolerance = 0 if path.suffix == ".png" or path.name.startswith("lossless") else 1
        assert np.abs(reply["pixels"].astype(int) - expected).max() <= tolerance, path.name


def test_sixteen_bits_are_read_as_their_upper_eight(read, tmp_path):
    pixels = (scene(20, 15).astype(np.uint16) << 8) + 77

    path = tmp_path / "deep.png"
    path.write_bytes(png(pixels))
    assert (read([path])[0]["pixels"] == pixels >> 8).all()


SETTINGS = {
    "clip": {"image_processor_type": "CLIPImageProcessor"},
    "clip of a small crop": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32},
                             "crop_size": {"height": 30, "width": 25}, "resample": 2},
    "clip of a crop that is larger": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 20},
                                      "crop_size": {"height": 31, "width": 40}},
    "clip with numbers for sizes": {"feature_extractor_type": "CLIPFeatureExtractor", "size": 40, "crop_size": 40},
    "clip without a crop": {"image_processor_type": "CLIPImageProcessor", "do_center_crop": False,
                            "size": {"height": 48, "width": 37}},
    "siglip": {"image_processor_type": "SiglipImageProcessor"},
    "siglip, bilinear": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 64, "width": 96}, "resample": 2},
    "nothing but bytes": {"image_processor_type": "SiglipImageProcessor", "do_resize": False, "do_rescale": False, "do_normalize": False},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_tower_sees_what_the_processor_of_transformers_gives_it(read, tmp_path, name):
    from transformers import CLIPImageProcessor, SiglipImageProcessor

    files = []
    for width, height in ((61, 43), (43, 61), (224, 224), (300, 17), (9, 200), (640, 480), (1, 1)):
        files.append(tmp_path / f"{width}x{height}.png")
        Image.fromarray(scene(width, height)).save(files[-1])
    settings = SETTINGS[name]
    kind = CLIPImageProcessor if "clip" in name else SiglipImageProcessor
    processor = kind.from_dict(settings)
    # One grey level, as a tower sees it: libraries differ in the last bit of a weight.
    level = 1.001 * (1 / 255 if settings.get("do_rescale", True) else 1) / (min(processor.image_std) if settings.get("do_normalize", True) else 1)
    for path, reply in zip(files, read(files, settings)):
        expected = np.asarray(processor(Image.open(path), return_tensors="np")["pixel_values"][0])
        assert reply["values"].shape == expected.shape, path.name
        difference = np.abs(reply["values"] - expected)
        assert difference.max() <= level and (difference > 1e-5).mean() < 1e-3, (path.name, difference.max())


def test_what_is_no_picture_or_not_supported_is_said(read, tmp_path):
    def file(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    colours = Image.fromarray(scene(30, 20))
    colours.save(tmp_path / "one.gif")
    colours.save(tmp_path / "one.bmp")
    colours.save(tmp_path / "moves.png", save_all=True, append_images=[Image.fromarray(scene(30, 20, 1))])
    colours.save(tmp_path / "moves.webp", save_all=True, append_images=[Image.fromarray(scene(30, 20, 1))])
    for name in ("a.png", "a.jpg", "a.webp"):
        colours.save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        file("cut-" + name, whole[:-20])
    bomb = bytearray((tmp_path / "a.png").read_bytes())
    bomb[16:24] = struct.pack(">II", 100_000, 100_000)
    expected = {
        "one.gif": "is a GIF, which", "one.bmp": "is a BMP", "moves.png": "is an animated PNG", "moves.webp": "is an animated WebP",
        "cut-a.png": "ends in the middle", "cut-a.jpg": "ends in the middle", "cut-a.webp": "ends in the middle",
        file("bomb.png", bytes(bomb)).name: "has 100000 × 100000 pixels", file("words.png", b"hello there").name: "is text, not",
        file("page.jpg", b"<!DOCTYPE html><html>").name: "is HTML", file("none.png", b"").name: "is empty, not",
    }
    for (name, part), reply in zip(expected.items(), read([tmp_path / name for name in expected])):
        assert reply.get("error", "").startswith(part), (name, reply.get("error"))


@pytest.mark.parametrize("settings, part", [
    ({"image_processor_type": "ViTImageProcessor"}, "'ViTImageProcessor' is not supported"),
    ({"image_processor_type": "CLIPImageProcessor", "resample": 1}, "resample 1 is not supported"),
    ({"image_processor_type": "CLIPImageProcessor", "size": {"longest_edge": 9}}, "size {\"longest_edge\":9} is not supported"),
    ({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 10 ** 9}}, "shortest_edge is 1000000000, expected 1 to"),
    ({"image_processor_type": "SiglipImageProcessor", "image_std": [0, 1, 1]}, "image_std has a number"),
    ({"image_processor_type": "SiglipImageProcessor", "image_mean": 0.5}, "a list of three numbers is expected"),
])
def test_settings_that_are_not_supported_are_refused_by_name(binary, tmp_path, settings, part):
    config = tmp_path / "preprocessor_config.json"
    config.write_text(json.dumps(settings))
    completed = subprocess.run([Path(binary).with_name("interop-probe"), "pictures", config, "none.png"], capture_output=True, text=True)
    assert completed.returncode != 0 and part in completed.stderr and str(config) in completed.stderr
