"""The data report: `cxr data report`."""
