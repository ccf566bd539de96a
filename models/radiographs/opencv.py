"""OpenCV, set up once: import `cv2` from here wherever radiographs are decoded, preprocessed or compared.

Whoever handles many images does so in threads. OpenCV's own threads would only compete with them, so they are off.
"""

from __future__ import annotations

import cv2

__all__ = ["cv2"]

cv2.setNumThreads(1)
