"""HCRM: hospital patient relationship management between HIS, EMR, physicians and patients."""

__version__ = "0.1.0"
