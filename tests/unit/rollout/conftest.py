import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `app_folders` is shared by the tests beside it
