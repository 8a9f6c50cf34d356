// Renders a WAV through another JACK client: jack_render IN.wav OUT.wav FROM_PORT TO_PORT FRAMES.
// FROM_PORT takes the sound, what TO_PORT makes is recorded for FRAMES frames. It plays and records
// as two clients, so that there is no loop for JACK to break by a period of delay, and in freewheel
// mode, in which the server waits for every client: frame n of the file is what came at frame n.
#include <jack/jack.h>
#include <sndfile.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Render {
  std::vector<float> in, out;
  std::atomic<int64_t> start = -1;  // frame time of the first sample; -1: not yet
  std::atomic<int64_t> recorded = 0;
};

struct Client {
  jack_client_t* handle;
  jack_port_t* port;
  Render* render;

  Client(const char* name, unsigned long flags, JackProcessCallback process, Render* what)
      : handle(jack_client_open(name, JackNoStartServer, nullptr)), render(what) {
    if (!handle) throw std::runtime_error("no JACK server");
    port = jack_port_register(handle, "port", JACK_DEFAULT_AUDIO_TYPE, flags, 0);
    jack_set_process_callback(handle, process, this);
    if (jack_activate(handle) != 0) throw std::runtime_error("cannot activate a JACK client");
  }
  ~Client() { jack_client_close(handle); }
  Client(const Client&) = delete;

  float* buffer(jack_nframes_t frames) const {
    return static_cast<float*>(jack_port_get_buffer(port, frames));
  }
  // Position in the render of the first frame of this cycle; negative before the start.
  int64_t position() const {
    const int64_t start = render->start.load();
    return start < 0 ? -1 : static_cast<int64_t>(jack_last_frame_time(handle)) - start;
  }
};

int play(jack_nframes_t frames, void* self) {
  const Client& client = *static_cast<Client*>(self);
  float* out = client.buffer(frames);
  const int64_t at = client.position();
  for (jack_nframes_t i = 0; i < frames; ++i) {
    const auto frame = static_cast<size_t>(at + i);
    out[i] = at >= 0 && frame < client.render->in.size() ? client.render->in[frame] : 0.0f;
  }
  return 0;
}

int record(jack_nframes_t frames, void* self) {
  const Client& client = *static_cast<Client*>(self);
  const float* in = client.buffer(frames);
  const int64_t at = client.position();
  for (jack_nframes_t i = 0; at >= 0 && i < frames; ++i) {
    const auto frame = static_cast<size_t>(at + i);
    if (frame < client.render->out.size()) client.render->out[frame] = in[i];
  }
  if (at >= 0) client.render->recorded = at + frames;
  return 0;
}

std::vector<float> read(const char* path, int* rate) {
  SF_INFO info{};
  SNDFILE* file = sf_open(path, SFM_READ, &info);
  if (!file || info.channels != 1) throw std::runtime_error(std::string(path) + ": not a mono WAV");
  std::vector<float> out(static_cast<size_t>(info.frames));
  sf_readf_float(file, out.data(), info.frames);
  sf_close(file);
  *rate = info.samplerate;
  return out;
}

void write(const char* path, const std::vector<float>& samples, int rate) {
  SF_INFO info{};
  info.samplerate = rate;
  info.channels = 1;
  info.format = SF_FORMAT_WAV | SF_FORMAT_FLOAT;
  SNDFILE* file = sf_open(path, SFM_WRITE, &info);
  if (!file) throw std::runtime_error(std::string(path) + ": cannot be written");
  sf_command(file, SFC_SET_ADD_PEAK_CHUNK, nullptr, SF_FALSE);  // no reader needs it
  sf_writef_float(file, samples.data(), static_cast<sf_count_t>(samples.size()));
  sf_close(file);
}

void connect(jack_client_t* client, const char* from, const char* to) {
  if (jack_connect(client, from, to) != 0)
    throw std::runtime_error(std::string("cannot connect ") + from + " to " + to);
}

void run(char** argv) {
  Render render;
  int rate = 0;
  render.in = read(argv[1], &rate);
  render.out.resize(std::strtoul(argv[5], nullptr, 10));
  Client player("sl_play", JackPortIsOutput, play, &render);
  Client recorder("sl_record", JackPortIsInput, record, &render);
  if (static_cast<int>(jack_get_sample_rate(player.handle)) != rate)
    throw std::runtime_error("the server's sample rate is not the file's");
  connect(player.handle, jack_port_name(player.port), argv[3]);
  connect(player.handle, argv[4], jack_port_name(recorder.port));
  jack_set_freewheel(player.handle, 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  // Well ahead of both clients, so that neither misses it.
  render.start = static_cast<int64_t>(jack_frame_time(player.handle)) + 100 * rate;
  for (int i = 0; i < 3000; ++i) {
    if (render.recorded.load() >= static_cast<int64_t>(render.out.size())) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  jack_set_freewheel(player.handle, 0);
  if (render.recorded.load() < static_cast<int64_t>(render.out.size()))
    throw std::runtime_error("the server did not run");
  write(argv[2], render.out, rate);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: jack_render IN.wav OUT.wav FROM_PORT TO_PORT FRAMES\n");
    return 2;
  }
  try {
    run(argv);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "jack_render: %s\n", error.what());
    return 1;
  }
}
