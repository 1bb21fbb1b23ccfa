"""Files in and out (导入导出). Public: `imports`, `progress.advance_imports`, `exports`."""
