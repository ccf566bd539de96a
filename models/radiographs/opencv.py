"""OpenCV, set up once: import `cv2` from here wherever radiographs are decoded, preprocessed or compared.

Callers process many images in threads of their own. OpenCV's threads would compete with them, so they are off.
"""

from __future__ import annotations

import cv2

__all__ = ["cv2"]

cv2.setNumThreads(1)
