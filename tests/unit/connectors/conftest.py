import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path.insert(0, str(TESTS / "unit/agents"))  # `world`: a small world for conversations
sys.path.insert(0, str(TESTS / "whole"))  # `phones`: simulated telephones
