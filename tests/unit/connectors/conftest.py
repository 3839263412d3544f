import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "agents"))  # `world`: a small world for conversations
