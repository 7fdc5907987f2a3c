// What may be done about a failure, by its code.

const REMEDIES = {
  invalid_request: "The provider refused the request: look at the message, the model and its options, then run it again.",
  insufficient_quota: "A ceiling was reached. Raise it, wait for the next day, or run it with a lower max_output_tokens.",
  context_too_long: "The conversation is longer than the model reads: begin a new one, or compact it.",
  timeout: "It took longer than its timeout_s: give it more, or look at its steps for the slow one.",
  wait_timeout: "Nobody answered in time. Run it again and answer sooner, or give the wait more time.",
  crashed: "Its worker died several times, often for memory: give the worker more (WorkerMemory), or look at its last step.",
  dead_letter: "Its message was given up. An operator can send dead letters again: make redrive.",
  replay_mismatch: "The agent's code changed while it ran. Run it again: recorded steps of the old code do not fit.",
  agent_error: "The agent's own code failed: its log has the traceback (sluice logs --run with this id).",
  child_failed: "A run that it started failed: open it below.",
  rate_limit_exceeded: "The provider's limit was reached, again and again. Run it again later, or set ProviderRpm.",
  model_not_found: "The provider does not know the model: choose another one.",
  unpriced_model: "Nobody priced the model: an operator sets Prices.",
  unusable_result: "What the agent returned cannot be stored: it must be JSON.",
};

export const remedy = (code) => REMEDIES[code] ?? "";

export function problemText(error) {
  if (!error) return "";
  const told = `${error.code}: ${error.message ?? ""}`;
  const help = remedy(error.code);
  return help ? `${told}\n${help}` : told;
}
