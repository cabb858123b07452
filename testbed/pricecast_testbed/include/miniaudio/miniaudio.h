// The part of miniaudio's interface that Ollama compiles against, refusing all audio. Go leaves folders named
// `vendor` out of modules, miniaudio's among them; only models that take sound as input would use it.
#pragma once

#include <cstddef>
#include <cstdint>

typedef int ma_result;
typedef uint64_t ma_uint64;

enum { MA_SUCCESS = 0, MA_NOT_IMPLEMENTED = -29 };
enum ma_format { ma_format_f32 = 5 };

struct ma_decoder_config {
  ma_format format;
};

struct ma_decoder {
  ma_decoder_config config;
};

static inline ma_decoder_config ma_decoder_config_init(ma_format format, uint32_t, uint32_t) { return {format}; }

static inline ma_result ma_decoder_init_memory(const void *, size_t, const ma_decoder_config *, ma_decoder *) {
  return MA_NOT_IMPLEMENTED;
}

static inline ma_result ma_decoder_get_length_in_pcm_frames(ma_decoder *, ma_uint64 *) { return MA_NOT_IMPLEMENTED; }

static inline ma_result ma_decoder_read_pcm_frames(ma_decoder *, void *, ma_uint64, ma_uint64 *) {
  return MA_NOT_IMPLEMENTED;
}

static inline ma_result ma_decoder_uninit(ma_decoder *) { return MA_SUCCESS; }
