package org.sequencelayers.flink;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.api.common.JobID;
import org.apache.flink.client.program.rest.RestClusterClient;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint;
import org.apache.flink.runtime.jobgraph.JobGraph;
import org.apache.flink.runtime.taskexecutor.TaskManagerRunner;

/** A cluster whose job manager and task managers are processes of their own, on this machine. */
final class ProcessCluster implements AutoCloseable {
  private static final int SLOTS = 2;

  private final Path directory;
  private final int restPort = freePort();
  private final List<Process> taskManagers = new ArrayList<>();
  private final Process jobManager;
  private final RestClusterClient<String> client;
  private final HttpClient http = HttpClient.newHttpClient();

  ProcessCluster(Path directory, int numTaskManagers) throws Exception {
    this.directory = directory;
    Files.createDirectories(directory);
    Files.writeString(directory.resolve("config.yaml"), yaml());
    jobManager = start(StandaloneSessionClusterEntrypoint.class, "job-manager");
    for (int i = 0; i < numTaskManagers; ++i) {
      startTaskManager();
    }
    Configuration configuration = new Configuration();
    configuration.set(RestOptions.ADDRESS, "localhost");
    configuration.set(RestOptions.PORT, restPort);
    client = new RestClusterClient<>(configuration, "processes");
  }

  /** Waits until all task managers have come. */
  void awaitTaskManagers() throws Exception {
    Cluster.await("task managers", () -> slots() == taskManagers.size() * SLOTS);
  }

  private String yaml() throws IOException {
    Map<String, Object> options = new TreeMap<>();
    options.put("jobmanager.rpc.address", "localhost");
    options.put("jobmanager.rpc.port", freePort());
    options.put("rest.address", "localhost");
    options.put("rest.port", restPort);
    options.put("web.refresh-interval", "50 ms");
    options.put("taskmanager.host", "localhost");
    options.put("taskmanager.numberOfTaskSlots", SLOTS);
    options.put("heartbeat.interval", "1 s");
    options.put("heartbeat.timeout", "10 s");
    // Flink's start scripts would compute these.
    options.put("taskmanager.cpu.cores", 1);
    List<String> parts =
        List.of(
            "framework.heap.size",
            "task.heap.size",
            "framework.off-heap.size",
            "task.off-heap.size",
            "jvm-metaspace.size",
            "jvm-overhead.min",
            "jvm-overhead.max",
            "managed.size",
            "network.min",
            "network.max");
    parts.forEach(part -> options.put("taskmanager.memory." + part, "64m"));
    StringBuilder text = new StringBuilder();
    options.forEach((name, value) -> text.append(name).append(": ").append(value).append('\n'));
    return text.toString();
  }

  private Process start(Class<?> main, String name) throws IOException {
    Path home = Files.createDirectories(directory.resolve(name));
    List<String> command = new ArrayList<>();
    Collections.addAll(command, System.getProperty("java.home") + "/bin/java", "-Xmx400m");
    for (String property :
        List.of("sequencelayers.library", "sequencelayers.suite", "jna.tmpdir")) {
      command.add("-D" + property + "=" + System.getProperty(property));
    }
    Collections.addAll(command, "-Dsequencelayers.output=" + home, "-Djava.io.tmpdir=" + home);
    Collections.addAll(command, "-cp", System.getProperty("surefire.test.class.path"));
    Collections.addAll(command, main.getName(), "--configDir", directory.toString());
    return new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(home.resolve("output").toFile())
        .start();
  }

  void startTaskManager() throws IOException {
    taskManagers.add(start(TaskManagerRunner.class, name(taskManagers.size())));
  }

  private static String name(int taskManager) {
    return "task-manager-" + taskManager;
  }

  /** Ends a task manager by SIGKILL, and gives its exit code. */
  int kill(int taskManager) throws InterruptedException {
    return taskManagers.get(taskManager).destroyForcibly().waitFor();
  }

  /** How often a task manager logged a text. */
  long logged(int taskManager, String text) throws IOException {
    Path log = directory.resolve(name(taskManager)).resolve("flink.log");
    return Files.readString(log).lines().filter(line -> line.contains(text)).count();
  }

  JobID submit(JobGraph job) throws Exception {
    return client.submitJob(job).get();
  }

  void join(JobID job) throws Exception {
    client.requestJobResult(job).get().toJobExecutionResult(getClass().getClassLoader());
  }

  /** Number of the checkpoint to which the job went back last; 0 if it never did. */
  long restoredCheckpoint(JobID job) throws Exception {
    JsonElement found =
        get("jobs/" + job + "/checkpoints").getAsJsonObject("latest").get("restored");
    return found == null || found.isJsonNull() ? 0 : found.getAsJsonObject().get("id").getAsLong();
  }

  private int slots() throws Exception {
    try {
      return get("overview").get("slots-total").getAsInt();
    } catch (IOException notYet) {
      return 0;
    }
  }

  private JsonObject get(String path) throws IOException, InterruptedException {
    URI address = URI.create("http://localhost:" + restPort + "/" + path);
    HttpResponse<String> response =
        http.send(HttpRequest.newBuilder(address).build(), HttpResponse.BodyHandlers.ofString());
    if (response.statusCode() != 200) {
      throw new IOException(response.body());
    }
    return JsonParser.parseString(response.body()).getAsJsonObject();
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }

  @Override
  public void close() {
    client.close();
    taskManagers.forEach(Process::destroyForcibly);
    jobManager.destroyForcibly();
  }
}
