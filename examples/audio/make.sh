#!/bin/sh
# Speaks the demo's clips: espeak-ng, sox and nothing else.
set -eu
cd "$(dirname "$0")"
speak() { # name, voice, pitch, speed, room, words; softened, as from a loudspeaker: less of a buzz
    espeak-ng -v "$2" -p "$3" -s "$4" -w "$1.wav" "$6"
    # shellcheck disable=SC2086 # an effect and its number, or nothing
    sox -R "$1.wav" -r 16000 -b 16 "$1.flac" gain -6 lowpass 3000 $5 norm -3
    rm "$1.wav"
}
speak good_news en-us+quincy 60 150 "" "I am so happy! We won the game, this is the best day of my life."
speak bad_news en-us+steph 50 130 "reverb 25" "I miss her so much. I have been crying since she died."
speak complaint en-us+m7 55 190 "" "This is outrageous! I hate how you treat your customers."
speak directions en-us+f4 40 150 "reverb 25" "The train to London leaves from platform four."
speak wegbeschreibung de+m3 45 130 "" "Der Zug nach Berlin fährt heute von Gleis vier."
