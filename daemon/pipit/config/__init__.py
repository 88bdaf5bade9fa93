"""The configuration: a YAML file, checked against what the parts declare, as frozen settings.

Every option is declared once, in a settings class (see `core.options`). From these declarations follow what `load` accepts, the
commented `config/pipit.yaml` (`template`) and the JSON Schema for editors, `config/schema.json` (`schema`). Nothing else reads YAML
or asks the environment for a secret.

`load` reports all problems at once, each as `FILE:LINE: path: what is wrong; what is allowed`. A secret that cannot be had is one
of them: a configuration is never checked without its secrets, because a missing key is the likeliest mistake of all. To check by
hand what systemd would pass on, point CREDENTIALS_DIRECTORY at a folder that holds the same names.
"""

from __future__ import annotations

from pipit.config.changes import changes
from pipit.config.loading import Reading, load, peruse
from pipit.config.printing import masked, template
from pipit.config.schema import schema
from pipit.config.sections import Config, Conversation, Log, Sounds
from pipit.plugins import Choice

__all__ = [
    "Choice",
    "Config",
    "Conversation",
    "Log",
    "Reading",
    "Sounds",
    "changes",
    "load",
    "masked",
    "peruse",
    "schema",
    "template",
]
