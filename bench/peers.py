"""One frame of a link as one would get it in Python.

    peers.py WAY URL FRAME OUTPUT.jpg
    peers.py WAY                        a service: answers each line `URL FRAME OUTPUT.jpg` with `done`
    peers.py versions"""

import sys
import tempfile


def opencv(url, frame, output):
    import cv2

    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG)
    capture.set(cv2.CAP_PROP_POS_FRAMES, frame)
    done, picture = capture.read()
    capture.release()
    if not done:
        raise RuntimeError("no frame")
    cv2.imwrite(output, picture, [cv2.IMWRITE_JPEG_QUALITY, 90])


def pyav(url, frame, output):
    import av
    import cv2

    with av.open(url) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        start = stream.start_time or 0
        wanted = start + round(frame / stream.average_rate / stream.time_base)
        container.seek(wanted, stream=stream)
        half = 0.5 / stream.average_rate / stream.time_base
        for picture in container.decode(stream):
            if picture.pts >= wanted - half:
                cv2.imwrite(output, picture.to_ndarray(format="bgr24"), [cv2.IMWRITE_JPEG_QUALITY, 90])
                return
    raise RuntimeError("no frame")


def download(url, frame, output):
    import requests

    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        with requests.get(url, stream=True, timeout=60) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_content(1 << 20):
                file.write(chunk)
        file.flush()
        opencv(file.name, frame, output)


WAYS = {"opencv": opencv, "pyav": pyav, "download": download}


def main():
    if sys.argv[1:] == ["versions"]:
        import av
        import cv2

        print(f"PyAV {av.__version__}, OpenCV {cv2.__version__}")
    elif len(sys.argv) == 5:
        WAYS[sys.argv[1]](sys.argv[2], int(sys.argv[3]), sys.argv[4])
    elif len(sys.argv) == 2:
        print("ready", flush=True)
        for line in sys.stdin:
            url, frame, output = line.split()
            try:
                WAYS[sys.argv[1]](url, int(frame), output)
                print("done", flush=True)
            except Exception as error:
                print(f"failed: {error}".replace("\n", " "), flush=True)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
