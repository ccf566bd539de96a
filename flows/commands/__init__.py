"""The commands of `cxr`, one file a group."""
