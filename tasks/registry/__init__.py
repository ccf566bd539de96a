"""Model versions, and which of them is champion."""
