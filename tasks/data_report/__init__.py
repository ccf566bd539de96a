"""The report on labelled images: `cxr data report`."""
