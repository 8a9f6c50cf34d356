// Stands in for audio.cc, media.cc and plot.cc in a tool that is linked without their libraries.
#include <stdexcept>

#include "cli/audio.h"
#include "cli/media.h"
#include "cli/plot.h"

namespace sl::cli {

void require_media(const std::string& file) {
  throw std::runtime_error(file +
                           ": this sl is built without sounds and figures; give an .npy array, or "
                           "use the sl that is built with the library");
}

Audio read_audio(const std::string&, const std::string& name) {
  require_media(name);
  return {};
}

Audio resample(Audio audio, double) { return audio; }

void write_wav(const std::string& path, const Sound&) { require_media(path); }

void write_plot(const Plot&, const std::string& path, PlotFormat) { require_media(path); }

}  // namespace sl::cli
