"""A gate for speech: a device listens, and only what is speech leaves it.

    device   sound → probability of speech every 32 ms → segments
    event    DEVICE/speech, if there are any
    cloud    each segment → its log-mel spectrogram and what it says of loudness and colour

`steps` gives the functions to `pipelines/speech.yaml` and `voices.yaml`; `speech-rules.yaml` joins the two by
events. The network is Silero's, and so are the numbers that fit it; probabilities and segments equal those of its
own wrapper, which the tests compare with.
"""
