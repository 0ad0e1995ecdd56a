"""The ids that every tokenizer reserves."""

PAD = 0  # fills a batch; never attended to, never counted
UNK = 1  # what the tokenizer has no piece for
START = 2  # first input of the decoder
END = 3  # closes every source sentence and every label
NUM_RESERVED = 4
