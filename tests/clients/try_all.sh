#!/usr/bin/env bash
# Real clients of OpenAI's protocol against what `make up` started, in their newest releases: not pinned, on purpose, as
# people install what is newest today. Each has an environment of its own (.tools/clients-NAME), since some hold others'
# packages back. With names as arguments (`npm llm`): those only. `-v` shows errors whole.
set -uo pipefail
cd "$(dirname "$0")/../.."
SLUICE_STATE=$(realpath "${SLUICE_STATE:-.local}")
export SLUICE_STATE
verbose=()
[[ ${1:-} == -v ]] && verbose=(-v) && shift
wanted=" $* "
failed=0

is_wanted() { [[ $wanted == "  " || $wanted == *" $1 "* ]]; }

python_client() { # NAME SCRIPT ARGUMENTS -- PACKAGE…
  local name=$1 script=$2 arguments=()
  shift 2
  while [[ $1 != -- ]]; do arguments+=("$1"); shift; done
  shift
  is_wanted "$name" || return 0
  local folder=.tools/clients-$name
  [[ -x $folder/bin/python ]] || .venv/bin/python -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager "$@" &&
    "$folder/bin/python" "tests/clients/$script.py" "${arguments[@]}" "${verbose[@]}" || failed=1
}

python_client open-responses open_responses -- jsonschema openresponses-py
python_client openai try_clients openai -- openai
python_client langchain try_clients langchain-openai -- langchain-openai
python_client agents try_clients openai-agents -- openai-agents
python_client pydantic-ai try_pydantic_ai -- "pydantic-ai-slim[openai]"
python_client litellm try_litellm -- litellm
python_client instructor try_instructor -- instructor
python_client llm try_llm -- llm

if is_wanted npm; then
  if command -v npm >/dev/null; then
    mkdir -p .tools/clients-npm
    cp tests/clients/try_npm.mjs .tools/clients-npm/
    (cd .tools/clients-npm && npm install --silent --no-audit --no-fund \
      openai@latest ai@latest @ai-sdk/openai@latest zod@latest && node try_npm.mjs "${verbose[@]}") || failed=1
  else
    echo "npm is not installed: openai (npm) and ai are not tried"
  fi
fi
exit $failed
